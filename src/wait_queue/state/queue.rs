//! The queue: which calls may wait, which is served next, and which goes when there is no place.

use std::{
    collections::{HashMap, hash_map},
    mem,
    time::{Duration, Instant},
};

use super::{
    arrival::{Arrival, Dequeued, Enqueued, Refusal, Ticket, Verdict},
    codel::CoDel,
    lists::{List, Slab},
};
use crate::{algo::after, call::Priority, wait_queue::config::WaitQueueConfig};

/// The calls that wait for permits of one limit, each with a payload `T`: the means to wake it.
///
/// The limit [enqueues](Self::enqueue) a call, and [dequeues](Self::dequeue) the next one when it has a permit. An entry
/// stays in memory until its call [removes](Self::remove) it.
#[derive(Debug)]
pub(crate) struct WaitQueue<T> {
    config: WaitQueueConfig,
    pub(super) entries: Slab<Entry<T>>,
    /// By priority, the lowest first.
    pub(super) classes: [Class; CLASSES],
    /// Only the keys of calls that wait.
    pub(super) keys: HashMap<u64, Key>,
}

#[derive(Debug)]
pub(super) struct Entry<T> {
    arrival: Arrival,
    since: Instant,
    /// When the call gives up, or when it was served.
    until: Instant,
    verdict: Option<Verdict>,
    pub(super) payload: T,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Class {
    pub(super) waiting: List<BY_CLASS>,
    /// The sum of the costs of the calls that wait.
    pub(super) cost: u64,
    /// Millionths of a call that this class is to be served before higher classes.
    credit: u32,
    /// Millionths: the credit for each call that is served while this class waits.
    share: u32,
    /// Whether a call was refused, because its turn would come too late, since a call was served.
    was_too_late: bool,
    /// The places that no other class takes.
    reserved: u32,
    codel: CoDel,
}

#[derive(Debug)]
pub(super) struct Key {
    len: u32,
    classes: [List<BY_KEY>; CLASSES],
}

impl<T: Default> WaitQueue<T> {
    pub(crate) fn new(config: WaitQueueConfig) -> Self {
        let class = Class {
            waiting: List::EMPTY,
            cost: 0,
            credit: 0,
            share: 0,
            was_too_late: false,
            reserved: 0,
            codel: CoDel::Below,
        };
        let (classes, keys) = ([class; CLASSES], HashMap::new());
        let mut queue = Self { config, entries: Slab::new(), classes, keys };
        queue.update(config);
        queue
    }

    /// Replaces the numbers. Waiting calls keep their places and their time; a smaller queue fills up no further.
    pub(crate) fn update(&mut self, config: WaitQueueConfig) {
        self.config = config;
        for (class, share) in self.classes.iter_mut().zip(config.minimum_shares.all()) {
            class.share = scaled(share, ONE);
            let places = scaled(share, config.capacity).max(u32::from(share > 0.0));
            class.reserved = places.min(config.capacity / LEAST_FOR_RESERVES);
        }
    }

    /// How many calls wait.
    pub(crate) fn len(&self) -> u32 {
        self.classes.iter().map(|class| class.waiting.len()).sum()
    }

    /// How many calls of this class wait.
    pub(crate) fn len_of(&self, priority: Priority) -> u32 {
        self.classes[priority as usize].waiting.len()
    }

    /// The highest class whose calls are shed, if any.
    pub(crate) fn shedding(&self) -> Option<Priority> {
        Priority::ALL.into_iter().find(|class| self.classes[*class as usize].codel == CoDel::Shedding)
    }

    /// The priority of a call, and since when it is in the queue.
    pub(crate) fn arrival(&self, ticket: &Ticket) -> (Priority, Instant) {
        let entry = &self.entries[ticket.0];
        (entry.arrival.priority, entry.since)
    }

    /// About how many permits go to other calls before a new call of this class is served, if no call arrives after it.
    pub(crate) fn ahead(&self, priority: Priority) -> u64 {
        let class = &self.classes[priority as usize];
        let by_rank = self.classes[priority as usize..].iter().map(|class| class.cost).sum();
        let owed = (class.cost + 1).saturating_mul(ONE.into()).saturating_sub(class.credit.into());
        owed.checked_div(class.share.into()).map_or(by_rank, |by_share| by_rank.min(by_share))
    }

    /// Lets a call wait behind all calls of the same class, `pace` being the time that the limit takes per permit. In a
    /// full queue, a less important call is evicted.
    pub(crate) fn enqueue(
        &mut self,
        arrival: Arrival,
        payload: T,
        pace: Duration,
        now: Instant,
    ) -> Result<Enqueued<T>, Refusal> {
        let ahead = u32::try_from(self.ahead(arrival.priority)).unwrap_or(u32::MAX);
        let start = after(now, pace.saturating_mul(ahead));
        let max_wait = after(now, self.config.max_wait);
        let until = arrival.deadline.map_or(max_wait, |deadline| deadline.min(max_wait));
        if until <= now || until < start {
            self.refuse(arrival.priority);
            return Err(arrival.expired(until));
        }
        let worst = self.call_to_evict(&arrival)?;
        let evicted = worst.map(|index| self.end(index, Verdict::Refused(Refusal::Full)));
        let index = self.entries.insert(Entry { arrival, since: now, until, verdict: None, payload });
        self.link(index);
        Ok(Enqueued { ticket: Ticket(index), evicted })
    }

    /// A call of this class does not join, because its turn would come too late. Without this, a class all of whose calls
    /// are refused would never be owed a turn.
    pub(crate) fn refuse(&mut self, priority: Priority) {
        self.classes[priority as usize].was_too_late = true;
    }

    /// The next call that stops waiting: shed, expired, or served if `admit` grants its cost. `None` if no call waits or
    /// the cost is not granted.
    pub(crate) fn dequeue(&mut self, now: Instant, admit: impl FnOnce(u32) -> bool) -> Option<Dequeued<T>> {
        if let Some(index) = self.call_to_shed(now) {
            return Some(self.dequeued(index, Verdict::Refused(Refusal::Shed)));
        }
        let class = self.next_class()?;
        let index = self.classes[class].waiting.first()?;
        let Entry { arrival, until, .. } = &self.entries[index];
        if *until <= now {
            let refusal = arrival.expired(*until);
            return Some(self.dequeued(index, Verdict::Refused(refusal)));
        }
        if !admit(arrival.cost) {
            return None;
        }
        self.add_credits(class);
        self.entries[index].until = now;
        Some(self.dequeued(index, Verdict::Served))
    }

    /// The payload of a call that waits.
    pub(crate) fn payload(&mut self, ticket: &Ticket) -> &mut T {
        &mut self.entries[ticket.0].payload
    }

    /// The verdict on a call, if it no longer waits.
    pub(crate) fn verdict(&self, ticket: &Ticket) -> Option<Verdict> {
        self.entries[ticket.0].verdict
    }

    /// When the call gives up, or when it was served.
    pub(crate) fn expires(&self, ticket: &Ticket) -> Instant {
        self.entries[ticket.0].until
    }

    /// Frees the place of a call. A call without a verdict gives up: its refusal is that of its expiry.
    #[expect(clippy::needless_pass_by_value, reason = "no call is removed twice")]
    pub(crate) fn remove(&mut self, ticket: Ticket) -> Dequeued<T> {
        if self.entries[ticket.0].verdict.is_none() {
            self.unlink(ticket.0);
        }
        let Entry { arrival, until, verdict, payload, .. } = self.entries.remove(ticket.0);
        Dequeued { payload, verdict: verdict.unwrap_or(Verdict::Refused(arrival.expired(until))) }
    }

    /// The call that has to go for this one; none if there is a place. An error if no call is less important.
    fn call_to_evict(&self, arrival: &Arrival) -> Result<Option<u32>, Refusal> {
        let class = arrival.priority as usize;
        let is_full = self.is_full_for(class);
        let gives_a_place = |class: &usize| !is_full || self.classes[*class].has_more_than_reserved();
        let mut lower = (0..class).filter(gives_a_place);
        let key = arrival.key.and_then(|key| self.keys.get(&key));
        if let (Some(key), Some(per_key)) = (key, self.config.per_key)
            && key.len >= per_key
        {
            // In the place of a call of another key, this call would exceed the bound of its own.
            let worst = lower.find_map(|class| key.classes[class].last());
            return worst.map(Some).ok_or(Refusal::Full);
        }
        if !is_full {
            return Ok(None);
        }
        let lowest = lower.next().ok_or(Refusal::Full)?;
        Ok(self.classes[lowest].waiting.last())
    }

    /// Whether the places that are not reserved for other classes are taken.
    fn is_full_for(&self, class: usize) -> bool {
        let others = self.classes.iter().enumerate().filter(|(other, _)| *other != class);
        let kept: u32 = others.map(|(_, other)| other.reserved.saturating_sub(other.waiting.len())).sum();
        self.len().saturating_add(kept) >= self.config.capacity
    }

    /// The call to shed, if a class has waited too long: the oldest one of the lowest class that has more than its
    /// reserved places.
    fn call_to_shed(&mut self, now: Instant) -> Option<u32> {
        let (entries, config) = (&self.entries, &self.config);
        // Every class observes its wait, so that its interval begins.
        let sheds = Priority::ALL.map(|priority| {
            let class = &mut self.classes[priority as usize];
            let oldest = class.waiting.first().filter(|_| class.has_more_than_reserved());
            let since = oldest.map(|index| entries[index].since);
            class.codel.observe(config.target(priority), since, now)
        });
        let highest = Priority::ALL[sheds.iter().position(|sheds| *sheds)?];
        let mut lower =
            self.classes[..=highest as usize].iter().filter(|class| class.has_more_than_reserved());
        lower.find_map(|class| class.waiting.first())
    }

    /// The class that is served next: one that is owed a call by its share, or the highest.
    pub(super) fn next_class(&self) -> Option<usize> {
        let waiting = || (0..CLASSES).filter(|class| self.classes[*class].waiting.len() > 0);
        let owed = waiting().filter(|class| self.classes[*class].credit >= ONE);
        owed.max_by_key(|class| self.classes[*class].credit).or_else(|| waiting().next_back())
    }

    /// Counts that a call of this class is served.
    fn add_credits(&mut self, served: usize) {
        for class in &mut self.classes {
            // A class whose calls would all come too late waits too. Without its credit it would never be served.
            if class.waiting.len() > 0 || class.was_too_late {
                class.credit = (class.credit + class.share).min(2 * ONE);
            }
            class.was_too_late = false;
        }
        let served = &mut self.classes[served];
        served.credit = served.credit.saturating_sub(ONE);
    }

    fn dequeued(&mut self, index: u32, verdict: Verdict) -> Dequeued<T> {
        Dequeued { payload: self.end(index, verdict), verdict }
    }

    /// Ends the wait of a call, and returns its payload.
    fn end(&mut self, index: u32, verdict: Verdict) -> T {
        self.unlink(index);
        let entry = &mut self.entries[index];
        entry.verdict = Some(verdict);
        mem::take(&mut entry.payload)
    }

    fn link(&mut self, index: u32) {
        let Arrival { priority, cost, key, .. } = self.entries[index].arrival;
        let class = &mut self.classes[priority as usize];
        class.waiting.push_back(&mut self.entries, index);
        class.cost += u64::from(cost);
        if let Some(key) = key {
            let key = self.keys.entry(key).or_insert(Key { len: 0, classes: [List::EMPTY; CLASSES] });
            key.len += 1;
            key.classes[priority as usize].push_back(&mut self.entries, index);
        }
    }

    fn unlink(&mut self, index: u32) {
        let Arrival { priority, cost, key, .. } = self.entries[index].arrival;
        let class = &mut self.classes[priority as usize];
        class.waiting.remove(&mut self.entries, index);
        class.cost -= u64::from(cost);
        if !class.has_more_than_reserved() {
            // Not at the next observation, before which a new burst may have begun.
            class.codel = CoDel::Below;
        }
        if let Some(hash_map::Entry::Occupied(mut key)) = key.map(|key| self.keys.entry(key)) {
            key.get_mut().classes[priority as usize].remove(&mut self.entries, index);
            key.get_mut().len -= 1;
            if key.get().len == 0 {
                key.remove();
            }
        }
    }
}

impl Class {
    const fn has_more_than_reserved(&self) -> bool {
        self.waiting.len() > self.reserved
    }
}

/// A share from 0 to 0.5 of a number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the result is at most half of `whole`"
)]
fn scaled(share: f64, whole: u32) -> u32 {
    (share * f64::from(whole)).round() as u32
}

const CLASSES: usize = Priority::ALL.len();
const BY_CLASS: usize = 0;
const BY_KEY: usize = 1;
/// One call, in millionths.
const ONE: u32 = 1_000_000;
/// A smaller queue has no reserved places, and no class reserves more than this part of a larger one.
const LEAST_FOR_RESERVES: u32 = 8;
