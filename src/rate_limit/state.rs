//! The machine: which calls pass, which wait, and until when.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::{
    adaptive::{AdaptiveRate, AdaptiveRateSnapshot, Change, Demand, Ended},
    bucket::Bucket,
    config::RateLimitConfig,
    limits::{Limits, Taken},
    quota::Quotas,
    rate::{Epoch, Rate},
    snapshot::RateLimitCounts,
};
use crate::{
    algo::after,
    call::{Priority, Reason},
    telemetry::EventKind,
    wait_queue::{Arrival, Dequeued, Enqueued, Refusal, Ticket, Verdict, WaitQueue},
};

/// The queue, the window and the counts of one limit, without the bucket.
#[derive(Debug)]
pub(super) struct State<T> {
    config: RateLimitConfig,
    limits: Limits,
    /// `None` if the rate is fixed.
    adaptive: Option<AdaptiveRate>,
    queue: WaitQueue<T>,
    counts: RateLimitCounts,
    /// As in the last event.
    shedding: Option<Priority>,
    /// When the numbers changed last.
    changed_at: Option<Instant>,
}

/// A call that did not pass at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Newcomer {
    pub(super) arrival: Arrival,
    /// Its wait counts from here.
    pub(super) at: Instant,
}

/// The answer to such a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Passes,
    /// It passes without tokens: the limit only counts.
    Beyond,
    MayWait,
    Refused(Refused),
}

/// Why a call does not pass, and when a new try makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) reason: Reason,
    pub(super) priority: Priority,
    /// Since when the call has waited, if it was in the queue.
    pub(super) since: Option<Instant>,
    pub(super) retry_at: Option<Instant>,
}

/// A step of the queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<T> {
    Dequeued(Dequeued<T>),
    /// The next call gets its tokens at this instant.
    Due(Instant),
    Empty,
}

impl<T: Default> State<T> {
    pub(super) fn new(config: RateLimitConfig, epoch: Epoch) -> Self {
        let (limits, queue) = (Limits::new(&config, config.bucket(), epoch), WaitQueue::new(config.queue));
        let adaptive = config.adaptive.zip(config.bounds());
        let adaptive = adaptive.map(|(numbers, bounds)| AdaptiveRate::new(numbers, bounds));
        let counts = RateLimitCounts::default();
        Self { config, limits, adaptive, queue, counts, shedding: None, changed_at: None }
    }

    pub(super) fn config(&self) -> RateLimitConfig {
        self.config
    }

    pub(super) fn update(&mut self, config: RateLimitConfig, bucket: &Bucket, now: Instant) {
        (self.config, self.changed_at) = (config, Some(now));
        let mut rate = config.bucket();
        if let (Some(adaptive), Some((numbers, bounds))) =
            (&mut self.adaptive, config.adaptive.zip(config.bounds()))
        {
            adaptive.update(numbers, bounds);
            rate = Some(adaptive.rate());
        }
        self.limits.update(&config, rate, bucket, now);
        self.queue.update(config.queue);
    }

    /// Learns from the end of a call. Whether rate or pause moved, and the change that an event tells. Calls `stop` before
    /// they move.
    pub(super) fn learn(
        &mut self,
        bucket: &Bucket,
        ended: &Ended,
        now: Instant,
        stop: impl FnOnce(),
    ) -> (bool, Option<Change>) {
        let Some(adaptive) = &mut self.adaptive else { return (false, None) };
        let RateLimitCounts { limited, rejected_cost, would_limit, .. } = self.counts;
        let demand = Demand { held_up: limited - rejected_cost + would_limit, waiting: self.queue.len() > 0 };
        let change = adaptive.record(ended, demand, now);
        let (rate, pause) = (adaptive.rate(), adaptive.paused_until());
        let has_moved = self.limits.is_new(rate, pause, now);
        if has_moved {
            stop();
            self.limits.adapt(rate, pause, bucket, now);
        }
        (has_moved, change)
    }

    pub(super) fn adaptive(&self, now: Instant) -> Option<AdaptiveRateSnapshot> {
        self.adaptive.as_ref().map(|adaptive| adaptive.snapshot(now))
    }

    pub(super) fn counts(&self) -> RateLimitCounts {
        self.counts
    }

    pub(super) fn waiting(&self) -> u32 {
        self.queue.len()
    }

    pub(super) fn waiting_of(&self, priority: Priority) -> u32 {
        self.queue.len_of(priority)
    }

    pub(super) fn shedding(&self) -> Option<Priority> {
        self.queue.shedding()
    }

    /// The event, if other classes are shed than at the last question.
    pub(super) fn shedding_change(&mut self) -> Option<EventKind> {
        let up_to = self.queue.shedding();
        let changed = mem::replace(&mut self.shedding, up_to) != up_to;
        changed.then_some(EventKind::SheddingChanged { up_to })
    }

    /// The tokens in the bucket, and the room in the window.
    pub(super) fn left(&mut self, bucket: &Bucket, now: Instant) -> (Option<u32>, Option<u32>) {
        self.limits.left(bucket, now)
    }

    /// The quotas, and what is left of them.
    pub(super) fn quotas(&mut self, bucket: &Bucket, now: Instant) -> Quotas {
        self.limits.quotas(&self.config, bucket, now)
    }

    /// The rate, if the bucket alone decides on a newcomer: no call waits, and there is no window.
    pub(super) fn lockless_rate(&self) -> Option<Rate> {
        self.limits.bucket_only().filter(|_| self.queue.len() == 0)
    }

    /// Repairs what a call left behind that took its tokens while the rate changed.
    pub(super) fn clamp_debt(&self, bucket: &Bucket, now: Instant, clock: impl FnOnce() -> Instant) {
        self.limits.clamp_debt(bucket, now, clock);
    }

    /// Decides on a call. A call that may wait is [enqueued](Self::enqueue) then.
    pub(super) fn enter(&mut self, bucket: &Bucket, newcomer: &Newcomer, now: Instant) -> Entry {
        let Arrival { priority, cost, deadline, .. } = newcomer.arrival;
        let passes = cost <= self.limits.most()
            && self.queue.len() == 0
            && self.limits.take(bucket, cost, now).is_ok();
        if passes {
            return Entry::Passes;
        }
        if self.config.shadow {
            self.counts.would_limit += 1;
            return Entry::Beyond;
        }
        if cost > self.limits.most() {
            self.counts.limited += 1;
            self.counts.rejected_cost += 1;
            let reason = Reason::CostTooHigh { cost, most: self.limits.most() };
            return Entry::Refused(Refused { reason, priority, since: None, retry_at: None });
        }
        let max_wait = after(newcomer.at, self.config.queue.longest_wait());
        let until = deadline.map_or(max_wait, |deadline| deadline.min(max_wait));
        let refusal = if self.config.queue.is_none() {
            Refusal::Full
        } else if self.turn(bucket, &newcomer.arrival, now) < until {
            return Entry::MayWait;
        } else {
            self.queue.refuse(priority);
            if deadline == Some(until) { Refusal::Deadline } else { Refusal::MaxWait }
        };
        self.counts.limited += 1;
        self.count(Verdict::Refused(refusal));
        Entry::Refused(self.refused(refusal, bucket, &newcomer.arrival, None, now))
    }

    /// Gives a call a place in the queue. In a full queue, a less important call is evicted.
    pub(super) fn enqueue(
        &mut self,
        bucket: &Bucket,
        newcomer: &Newcomer,
        payload: T,
        now: Instant,
    ) -> Result<Enqueued<T>, Refused> {
        self.counts.limited += 1;
        // The exact time of the turn has been compared already.
        let enqueued = self.queue.enqueue(newcomer.arrival, payload, Duration::ZERO, newcomer.at);
        let enqueued = enqueued.map_err(|refusal| {
            self.count(Verdict::Refused(refusal));
            self.refused(refusal, bucket, &newcomer.arrival, None, now)
        })?;
        if enqueued.evicted.is_some() {
            self.count(Verdict::Refused(Refusal::Full));
        }
        Ok(enqueued)
    }

    /// The next call that stops waiting, or the time at which it will.
    pub(super) fn step(&mut self, bucket: &Bucket, now: Instant) -> Step<T> {
        // The clock may have been read before the numbers changed. The call takes its tokens by the new ones.
        let now = self.changed_at.map_or(now, |at| at.max(now));
        let Self { config, limits, queue, .. } = self;
        let mut due = None;
        let dequeued = queue.dequeue(now, |cost| match limits.take(bucket, cost, now) {
            Ok(()) => true,
            Err(at) => {
                due = Some(at);
                config.shadow
            }
        });
        match (dequeued, due) {
            (Some(dequeued), _) => {
                self.count(dequeued.verdict);
                Step::Dequeued(dequeued)
            }
            (None, Some(due)) => Step::Due(due),
            (None, None) => Step::Empty,
        }
    }

    /// The means to wake the call that is served next.
    pub(super) fn head(&mut self) -> Option<&mut T> {
        self.queue.head()
    }

    /// Whether the call is served next.
    pub(super) fn is_head(&self, ticket: &Ticket) -> bool {
        self.queue.is_head(ticket)
    }

    /// Keeps the means to wake a call, in the place of the former one. Whether the call still waits.
    pub(super) fn register(&mut self, ticket: &Ticket, payload: &mut T) -> bool {
        let waits = self.queue.verdict(ticket).is_none();
        if waits {
            mem::swap(self.queue.payload(ticket), payload);
        }
        waits
    }

    /// When the call gives up, or when it was served.
    pub(super) fn expires(&self, ticket: &Ticket) -> Instant {
        self.queue.expires(ticket)
    }

    /// A call takes its verdict, or gives up because its time is over. Returns when it was served. Returns the payload too,
    /// which is dropped without the lock.
    pub(super) fn end(
        &mut self,
        ticket: Ticket,
        bucket: &Bucket,
        newcomer: &Newcomer,
        now: Instant,
    ) -> (Result<Instant, Refused>, T) {
        let (decided, served_at) = (self.queue.verdict(&ticket).is_some(), self.queue.expires(&ticket));
        let Dequeued { payload, verdict } = self.queue.remove(ticket);
        if !decided {
            self.count(verdict);
        }
        let result = match verdict {
            Verdict::Served => Ok(served_at),
            Verdict::Refused(refusal) => {
                Err(self.refused(refusal, bucket, &newcomer.arrival, Some(newcomer.at), now))
            }
        };
        (result, payload)
    }

    /// A call is dropped while it waits, or with its verdict.
    pub(super) fn cancel(&mut self, ticket: Ticket) -> Dequeued<T> {
        if self.queue.verdict(&ticket).is_none() {
            self.counts.cancelled += 1;
        }
        self.queue.remove(ticket)
    }

    /// Returns the tokens of a call that was served and did not use them. A limit that only counts has served calls that
    /// took none. By former numbers a call may have taken less, or nothing from the window of today.
    pub(super) fn refund(&mut self, bucket: &Bucket, cost: u32, taken: Taken, now: Instant) {
        let is_former = self.changed_at.is_some_and(|changed_at| taken.at < changed_at);
        if !self.config.shadow && !is_former {
            self.limits.refund(bucket, cost, taken, now);
        }
    }

    /// The reason of a refusal, and when a call like this would get its turn.
    fn refused(
        &mut self,
        refusal: Refusal,
        bucket: &Bucket,
        arrival: &Arrival,
        since: Option<Instant>,
        now: Instant,
    ) -> Refused {
        let reason = match refusal {
            Refusal::Deadline => Reason::DeadlineExceeded,
            Refusal::Full | Refusal::Shed | Refusal::MaxWait => Reason::RateLimited,
        };
        let retry_at = Some(self.turn(bucket, arrival, now));
        Refused { reason, priority: arrival.priority, since, retry_at }
    }

    /// When a newcomer gets its tokens, if no call joins after it.
    pub(super) fn turn(&mut self, bucket: &Bucket, arrival: &Arrival, now: Instant) -> Instant {
        let cost = self.queue.ahead(arrival.priority).saturating_add(arrival.cost.into());
        self.limits.free_at(bucket, cost, now)
    }

    fn count(&mut self, verdict: Verdict) {
        let counts = &mut self.counts;
        *match verdict {
            Verdict::Served => &mut counts.served,
            Verdict::Refused(Refusal::Full) => &mut counts.rejected_full,
            Verdict::Refused(Refusal::Shed) => &mut counts.rejected_shed,
            Verdict::Refused(Refusal::MaxWait) => &mut counts.rejected_max_wait,
            Verdict::Refused(Refusal::Deadline) => &mut counts.rejected_deadline,
        } += 1;
    }
}
