//! The machine: the limit, the calls that wait, the pace at which they are served, and their counts.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::{
    adaptive::{Ended, Learner},
    config::ConcurrencyLimitConfig,
    pace::Pace,
    permits::Terms,
    snapshot::ConcurrencyLimitCounts,
};
use crate::{
    call::{Priority, Reason},
    telemetry::EventKind,
    wait_queue::{Arrival, Dequeued, Enqueued, Refusal, Ticket, Verdict, WaitQueue},
};

/// The queue of one limit, without the permits.
#[derive(Debug)]
pub(super) struct State<T> {
    config: ConcurrencyLimitConfig,
    queue: WaitQueue<T>,
    pace: Pace,
    counts: ConcurrencyLimitCounts,
    /// Boxed, because most limits are fixed.
    learner: Option<Box<Learner>>,
    /// As in the last event.
    shedding: Option<Priority>,
}

/// The rejection of a call, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) reason: Reason,
    pub(super) priority: Priority,
    /// Since when the call had waited, if it had.
    pub(super) since: Option<Instant>,
    /// About the time that the calls that wait will take.
    pub(super) retry_after: Duration,
}

impl<T: Default> State<T> {
    pub(super) fn new(config: ConcurrencyLimitConfig, seed: u64) -> Self {
        let (pace, counts) = (Pace::default(), ConcurrencyLimitCounts::default());
        let queue = WaitQueue::new(config.queue);
        let mut state = Self { config, queue, pace, counts, learner: None, shedding: None };
        state.update(config, seed);
        state
    }

    pub(super) fn config(&self) -> ConcurrencyLimitConfig {
        self.config
    }

    /// Replaces the numbers. A limit that goes on learning keeps what it knows.
    pub(super) fn update(&mut self, config: ConcurrencyLimitConfig, seed: u64) {
        let ConcurrencyLimitConfig { limit, shadow, adaptive, queue } = config;
        match (&mut self.learner, adaptive) {
            (Some(learner), Some(adaptive)) => learner.update(&adaptive, limit, shadow),
            (learner, Some(adaptive)) => {
                *learner = Some(Box::new(Learner::new(&adaptive, limit, shadow, seed)));
            }
            (learner, None) => *learner = None,
        }
        self.config = config;
        self.queue.update(queue);
    }

    /// The terms of the permits.
    pub(super) fn terms(&self) -> Terms {
        let sampling = self.learner.as_ref().map(|learner| learner.sampling());
        Terms { limit: self.limit(), shadow: self.config.shadow, sampling }
    }

    pub(super) fn limit(&self) -> u32 {
        self.learner.as_ref().map_or(self.config.limit, |learner| learner.limit())
    }

    /// The time of a call without a queue, if the limit has learnt it.
    pub(super) fn baseline(&self) -> Option<Duration> {
        self.learner.as_ref()?.baseline()
    }

    /// A measured call has ended. Returns the event, if the limit has changed by much.
    pub(super) fn learn(&mut self, call: Ended, now: Instant) -> Option<EventKind> {
        self.learner.as_mut()?.record(call, now)
    }

    /// Ends a probe that lasts too long. Whether the limit has changed.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        self.learner.as_mut().is_some_and(|learner| learner.expire(now))
    }

    pub(super) fn counts(&self) -> ConcurrencyLimitCounts {
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

    /// A call passes beyond the limit, which only counts.
    pub(super) fn pass(&mut self) {
        self.counts.would_wait += 1;
    }

    /// A call that found no permit waits, or is rejected.
    pub(super) fn enqueue(
        &mut self,
        arrival: Arrival,
        payload: T,
        now: Instant,
    ) -> Result<Enqueued<T>, Rejection> {
        self.counts.limited += 1;
        let enqueued = self.queue.enqueue(arrival, payload, self.pace.mean, now).map_err(|refusal| {
            self.count(Verdict::Refused(refusal));
            self.rejection(refusal, arrival.priority, None)
        })?;
        if enqueued.evicted.is_some() {
            self.count(Verdict::Refused(Refusal::Full));
        }
        self.pace.since.get_or_insert(now);
        Ok(enqueued)
    }

    /// The next call that stops waiting, now that there is a permit.
    pub(super) fn dequeue(&mut self, now: Instant) -> Option<Dequeued<T>> {
        let dequeued = self.queue.dequeue(now, |_| true)?;
        self.count(dequeued.verdict);
        if dequeued.verdict == Verdict::Served {
            self.pace.served(now, self.config.queue.longest_wait());
        }
        self.pause_pace();
        Some(dequeued)
    }

    /// Keeps the means to wake a call, in the place of the former one. Whether the call still waits.
    pub(super) fn register(&mut self, ticket: &Ticket, payload: &mut T) -> bool {
        let waits = self.queue.verdict(ticket).is_none();
        if waits {
            mem::swap(self.queue.payload(ticket), payload);
        }
        waits
    }

    /// The priority of a call that waits, and since when it waits.
    pub(super) fn arrival(&self, ticket: &Ticket) -> (Priority, Instant) {
        self.queue.arrival(ticket)
    }

    /// When the call gives up.
    pub(super) fn expires(&self, ticket: &Ticket) -> Instant {
        self.queue.expires(ticket)
    }

    /// A call takes its verdict, or gives up because its time is over. Returns the payload too, which is dropped without
    /// the lock.
    pub(super) fn end(&mut self, ticket: Ticket) -> (Result<(), Rejection>, T) {
        let decided = self.queue.verdict(&ticket).is_some();
        let (priority, since) = self.queue.arrival(&ticket);
        let dequeued = self.queue.remove(ticket);
        if !decided {
            self.count(dequeued.verdict);
        }
        self.pause_pace();
        let result = match dequeued.verdict {
            Verdict::Served => Ok(()),
            Verdict::Refused(refusal) => Err(self.rejection(refusal, priority, Some(since))),
        };
        (result, dequeued.payload)
    }

    /// A call is dropped while it waits. If it had its verdict already, it takes the verdict.
    pub(super) fn cancel(&mut self, ticket: Ticket) -> (Option<Result<(), Rejection>>, T) {
        if self.queue.verdict(&ticket).is_some() {
            let (result, payload) = self.end(ticket);
            return (Some(result), payload);
        }
        self.counts.cancelled += 1;
        let dequeued = self.queue.remove(ticket);
        self.pause_pace();
        (None, dequeued.payload)
    }

    /// The rejection for a refusal.
    pub(super) fn rejection(
        &self,
        refusal: Refusal,
        priority: Priority,
        since: Option<Instant>,
    ) -> Rejection {
        let (limit, queue) = (self.limit(), self.config.queue);
        let max_wait = queue.longest_wait();
        let reason = match refusal {
            Refusal::Full if queue.is_none() => Reason::ConcurrencyLimited { limit },
            Refusal::Full => Reason::QueueFull,
            Refusal::Shed => Reason::Shed,
            Refusal::MaxWait => Reason::QueueTimeout { max_wait },
            Refusal::Deadline => Reason::DeadlineExceeded,
        };
        let retry_after = match self.pace.mean {
            Duration::ZERO => max_wait,
            mean => mean.saturating_mul(self.queue.len().saturating_add(1)).min(max_wait),
        };
        Rejection { reason, priority, since, retry_after }
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

    /// The time without a queue says nothing about the pace.
    fn pause_pace(&mut self) {
        if self.queue.len() == 0 {
            self.pace.since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{rt::clock::epoch, wait_queue::WaitQueueConfig};

    const CALL: Arrival = Arrival { priority: Priority::Normal, cost: 1, deadline: None, key: None };

    fn at(millis: u64) -> Instant {
        epoch() + Duration::from_millis(millis)
    }

    fn state(queue: WaitQueueConfig) -> State<u32> {
        State::new(ConcurrencyLimitConfig::new(3).queue(queue), 1)
    }

    #[test]
    fn the_pace_predicts_who_would_be_late_and_when_to_come_again() {
        let mut state = state(WaitQueueConfig::new().without_shedding());
        for id in 0..12 {
            assert!(state.enqueue(CALL, id, at(0)).is_ok());
        }
        let rejection = |state: &State<u32>, refusal| {
            let Rejection { reason, retry_after, .. } = state.rejection(refusal, Priority::Low, None);
            (reason, retry_after)
        };
        assert_eq!(rejection(&state, Refusal::Full), (Reason::QueueFull, Duration::from_secs(1)));
        for round in 1..=2 {
            assert_eq!(state.dequeue(at(100 * round)).map(|it| it.verdict), Some(Verdict::Served));
        }
        // Ten calls wait, and one is served every 100 ms.
        let due = |millis| Arrival { deadline: Some(at(millis)), ..CALL };
        let late = state.enqueue(due(1_199), 20, at(200)).expect_err("it would be late");
        assert_eq!((late.reason, late.since), (Reason::DeadlineExceeded, None));
        assert!(state.enqueue(due(1_200), 20, at(200)).is_ok());
        state.dequeue(at(300));
        assert_eq!(rejection(&state, Refusal::Shed), (Reason::Shed, Duration::from_secs(1)));
        while state.dequeue(at(300)).is_some() {}
        // A pause without a queue is no slow service.
        assert!(state.enqueue(CALL, 21, at(9_000)).is_ok());
        state.dequeue(at(9_010));
        assert!(state.pace.mean < Duration::from_millis(100), "{:?}", state.pace);
    }

    #[test]
    fn one_backend_that_hung_does_not_make_later_calls_look_hopeless() {
        let mut state = state(WaitQueueConfig::new().without_shedding());
        for turn in 0..=10 {
            assert!(state.enqueue(CALL, 0, at(10 * turn)).is_ok());
            state.dequeue(at(10 * turn + 10));
        }
        // Every second a call gives up and another one arrives.
        let mut ticket = state.enqueue(CALL, 0, at(1_000)).expect("there is a place").ticket;
        for second in 2..60 {
            let next = state.enqueue(CALL, 0, at(1_000 * second)).expect("it may wait").ticket;
            state.cancel(mem::replace(&mut ticket, next));
        }
        state.dequeue(at(60_000));
        for id in 0..5 {
            assert!(state.enqueue(CALL, id, at(60_000)).is_ok(), "call {id}: {:?}", state.pace);
        }
    }

    #[test]
    fn case_61_every_limited_call_is_counted_once() {
        let mut state = state(WaitQueueConfig::new().capacity(3).max_wait(Duration::from_millis(50)));
        let high = Arrival { priority: Priority::High, ..CALL };
        let enqueue = |state: &mut State<u32>, call, id| state.enqueue(call, id, at(0));
        let mut tickets: Vec<_> =
            (0..3).map(|id| enqueue(&mut state, CALL, id).expect("there is a place").ticket).collect();
        assert!(enqueue(&mut state, CALL, 3).is_err());
        assert!(enqueue(&mut state, high, 4).is_ok_and(|enqueued| enqueued.evicted == Some(2)));
        assert_eq!(state.dequeue(at(1)).map(|dequeued| dequeued.payload), Some(4));
        let mut take = || tickets.pop().expect("three joined");
        let reason = |result: Result<(), Rejection>| result.map_err(|rejection| rejection.reason);
        assert_eq!(state.cancel(take()).0.map(reason), Some(Err(Reason::QueueFull)));
        assert_eq!(state.cancel(take()).0, None);
        let max_wait = Duration::from_millis(50);
        assert_eq!(reason(state.end(take()).0), Err(Reason::QueueTimeout { max_wait }));
        let counts = state.counts();
        let rejected = [counts.rejected_full, counts.rejected_max_wait, counts.rejected_deadline];
        assert_eq!((counts.limited, counts.served, counts.cancelled, rejected), (5, 1, 1, [2, 1, 0]));
        assert_eq!(state.waiting(), 0);
    }

    #[test]
    fn a_limit_without_a_queue_says_so() {
        let mut state = state(WaitQueueConfig::none());
        let rejection = state.enqueue(CALL, 1, at(0)).expect_err("no call may wait");
        assert_eq!(rejection.reason, Reason::ConcurrencyLimited { limit: 3 });
    }
}
