//! A naive model of the queue: one list in the order of arrival, which every question reads from the start.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{Arrival, Dequeued, Enqueued, Refusal, Ticket, Verdict, WaitQueue};
use crate::{call::Priority, rt::clock::epoch, wait_queue::config::WaitQueueConfig};

const CAPACITY: u32 = 12;
const PER_KEY: u32 = 4;
/// One place in a queue of twelve.
const RESERVED: usize = 1;
const SHARES: [(Priority, u64); 2] = [(Priority::Normal, 20), (Priority::Low, 10)];
/// Half of it is the target of high and critical calls.
const MAX_WAIT: Duration = Duration::from_millis(300);
const TARGET: Duration = Duration::from_millis(40);
const INTERVAL: Duration = Duration::from_millis(100);

const CONFIG: WaitQueueConfig = WaitQueueConfig::new()
    .capacity(CAPACITY)
    .per_key(PER_KEY)
    .minimum_share(Priority::High, 0.0)
    .minimum_share(Priority::Normal, 0.2)
    .minimum_share(Priority::Low, 0.1)
    .max_wait(MAX_WAIT)
    .shed_above(TARGET, INTERVAL);

#[derive(Clone, Copy, Debug)]
struct Waiting {
    id: u32,
    arrival: Arrival,
    since: Instant,
}

#[derive(Default)]
struct Model {
    waiting: Vec<Waiting>,
    /// Hundredths of a call, by priority.
    credits: [u64; 4],
    /// Whether a call was refused as too late since a call was served.
    too_late: [bool; 4],
    above_since: [Option<Instant>; 4],
    sheds: [bool; 4],
}

impl Model {
    fn of(&self, priority: Priority) -> Vec<Waiting> {
        self.waiting.iter().filter(|it| it.arrival.priority == priority).copied().collect()
    }

    fn reserved(priority: Priority) -> usize {
        if SHARES.iter().any(|(shared, _)| *shared == priority) { RESERVED } else { 0 }
    }

    fn has_more_than_reserved(&self, priority: Priority) -> bool {
        self.of(priority).len() > Self::reserved(priority)
    }

    fn until(arrival: &Arrival, since: Instant) -> Instant {
        arrival.deadline.map_or(since + MAX_WAIT, |deadline| deadline.min(since + MAX_WAIT))
    }

    fn expired(arrival: &Arrival, since: Instant) -> Refusal {
        if arrival.deadline.is_some_and(|deadline| deadline <= since + MAX_WAIT) {
            Refusal::Deadline
        } else {
            Refusal::MaxWait
        }
    }

    fn end(&mut self, id: u32) {
        self.waiting.retain(|it| it.id != id);
        for class in
            Priority::ALL.into_iter().filter(|class| !self.has_more_than_reserved(*class)).collect::<Vec<_>>()
        {
            (self.sheds[class as usize], self.above_since[class as usize]) = (false, None);
        }
    }

    /// The call that is evicted, if any.
    fn enqueue(
        &mut self,
        arrival: Arrival,
        id: u32,
        pace: Duration,
        now: Instant,
    ) -> Result<Option<u32>, Refusal> {
        let higher = |it: &&Waiting| it.arrival.priority >= arrival.priority;
        let by_rank: u64 = self.waiting.iter().filter(higher).map(|it| u64::from(it.arrival.cost)).sum();
        let own: u64 = self.of(arrival.priority).iter().map(|it| u64::from(it.arrival.cost)).sum();
        let share = SHARES.iter().find(|(priority, _)| *priority == arrival.priority);
        let owed = ((own + 1) * 100).saturating_sub(self.credits[arrival.priority as usize]);
        let ahead = share.map_or(by_rank, |(_, percent)| by_rank.min(owed / percent));
        let start = now + pace * u32::try_from(ahead).expect("few");
        let until = Self::until(&arrival, now);
        if until <= now || until < start {
            self.too_late[arrival.priority as usize] = true;
            return Err(Self::expired(&arrival, now));
        }
        let newest_lowest = |among: Vec<Waiting>| {
            let lower = among.into_iter().filter(|it| it.arrival.priority < arrival.priority);
            lower.min_by_key(|it| (it.arrival.priority, u32::MAX - it.id))
        };
        let of_key = |it: &&Waiting| it.arrival.key == arrival.key;
        let bounded = arrival.key.is_some() && self.waiting.iter().filter(of_key).count() >= PER_KEY as usize;
        let kept = Priority::ALL.into_iter().filter(|other| *other != arrival.priority);
        let kept: usize = kept.map(|other| Self::reserved(other).saturating_sub(self.of(other).len())).sum();
        let full = self.waiting.len() + kept >= CAPACITY as usize;
        let may_go = |it: &&Waiting| {
            (!full || self.has_more_than_reserved(it.arrival.priority)) && (!bounded || of_key(it))
        };
        let worst = if full || bounded {
            let all = self.waiting.iter().filter(may_go).copied().collect();
            Some(newest_lowest(all).ok_or(Refusal::Full)?)
        } else {
            None
        };
        if let Some(worst) = worst {
            self.end(worst.id);
        }
        self.waiting.push(Waiting { id, arrival, since: now });
        Ok(worst.map(|worst| worst.id))
    }

    fn dequeue(&mut self, now: Instant, granted: u32) -> Option<Dequeued<u32>> {
        let refuse = |payload, refusal| Some(Dequeued { payload, verdict: Verdict::Refused(refusal) });
        let mut shed = None;
        for class in Priority::ALL.into_iter().rev() {
            let unreserved = if self.has_more_than_reserved(class) { self.of(class) } else { vec![] };
            let target = if class > Priority::Normal { MAX_WAIT / 2 } else { TARGET };
            let above = unreserved.iter().any(|it| now - it.since > target);
            let (sheds, above_since) =
                (&mut self.sheds[class as usize], &mut self.above_since[class as usize]);
            if *sheds {
                *sheds = !unreserved.is_empty();
            } else if let Some(since) = *above_since {
                *sheds = above && now - since >= INTERVAL;
                if !above || *sheds {
                    *above_since = None;
                }
            } else if above {
                *above_since = Some(now);
            }
            if *sheds && above {
                let lower = self.waiting.iter().filter(|it| it.arrival.priority <= class);
                let lower = lower.filter(|it| self.has_more_than_reserved(it.arrival.priority));
                shed = lower.min_by_key(|it| (it.arrival.priority, it.id)).map(|it| it.id);
            }
        }
        if let Some(worst) = shed {
            self.end(worst);
            return refuse(worst, Refusal::Shed);
        }
        let owed = Priority::ALL.into_iter().filter(|class| !self.of(*class).is_empty());
        let owed = owed.filter(|class| self.credits[*class as usize] >= 100);
        // The first of the highest credits is that of the highest class.
        let owed = owed.rev().max_by_key(|class| self.credits[*class as usize]);
        let class = owed.or_else(|| self.waiting.iter().map(|it| it.arrival.priority).max())?;
        let first = self.of(class)[0];
        if Self::until(&first.arrival, first.since) <= now {
            self.end(first.id);
            return refuse(first.id, Self::expired(&first.arrival, first.since));
        }
        if first.arrival.cost > granted {
            return None;
        }
        for (other, percent) in SHARES {
            if !self.of(other).is_empty() || self.too_late[other as usize] {
                self.credits[other as usize] = (self.credits[other as usize] + percent).min(200);
            }
        }
        self.too_late = [false; 4];
        self.credits[class as usize] = self.credits[class as usize].saturating_sub(100);
        self.end(first.id);
        Some(Dequeued { payload: first.id, verdict: Verdict::Served })
    }
}

fn arrival(rng: &mut StdRng, now: Instant) -> Arrival {
    Arrival {
        priority: Priority::ALL[rng.random_range(0..4)],
        cost: rng.random_range(1..4),
        deadline: rng.random_bool(0.3).then(|| now + Duration::from_millis(rng.random_range(0..400))),
        key: rng.random_bool(0.7).then(|| rng.random_range(0..4)),
    }
}

/// Feeds both the same operations. Returns how often calls were cancelled while they waited.
fn drive(seed: u64, steps: u32) -> u32 {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut queue, mut model) = (WaitQueue::new(CONFIG), Model::default());
    let mut tickets: Vec<(u32, Ticket)> = Vec::new();
    let (mut now, mut cancels) = (epoch(), 0);
    for id in 1..=steps {
        match rng.random_range(0..10) {
            0..=3 => {
                let arrival = arrival(&mut rng, now);
                let pace = Duration::from_millis(rng.random_range(0..12));
                let expected = model.enqueue(arrival, id, pace, now);
                let found = queue.enqueue(arrival, id, pace, now).map(|Enqueued { ticket, evicted }| {
                    tickets.push((id, ticket));
                    evicted
                });
                assert_eq!(found, expected, "seed {seed}, step {id}");
            }
            4..=5 => {
                let granted = rng.random_range(0..4);
                let ended = queue.dequeue(now, |cost| cost <= granted);
                assert_eq!(ended, model.dequeue(now, granted), "seed {seed}, step {id}");
            }
            6..=7 if !tickets.is_empty() => {
                let (id, ticket) = tickets.swap_remove(rng.random_range(0..tickets.len()));
                let waited = model.waiting.iter().find(|it| it.id == id).copied();
                assert_eq!(queue.verdict(&ticket).is_none(), waited.is_some(), "seed {seed}, call {id}");
                let verdict = queue.remove(ticket).verdict;
                if let Some(it) = waited {
                    cancels += 1;
                    assert_eq!(verdict, Verdict::Refused(Model::expired(&it.arrival, it.since)));
                }
                model.end(id);
            }
            _ => now += Duration::from_millis(rng.random_range(0..25)),
        }
        assert_eq!(queue.len() as usize, model.waiting.len(), "seed {seed}, step {id}");
        for priority in Priority::ALL.into_iter().filter(|_| id % 16 == 0) {
            assert_eq!(queue.len_of(priority) as usize, model.of(priority).len(), "seed {seed}, step {id}");
        }
    }
    while let Some((_, ticket)) = tickets.pop() {
        queue.remove(ticket);
    }
    assert_eq!(queue.len(), 0, "seed {seed}");
    assert!(queue.holds_nothing(), "seed {seed}");
    cancels
}

#[test]
fn case_32_the_length_is_the_reality_after_ten_thousand_random_cancels() {
    let (mut cancels, mut seed) = (0, 0);
    while cancels < 10_000 {
        cancels += drive(seed, 5_000);
        seed += 1;
    }
    println!("{cancels} cancels, seeds 0 to {}", seed - 1);
}
