//! What a retry remembers: counts, the last attempts, and the delay that works.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::state::Stop;
use crate::{
    algo::LatencyHistogram,
    call::{ErrorClass, PerClass},
    retry_budget::NoCredit,
};

/// The memory of a retry. What succeeds at once leaves no trace here.
#[derive(Debug)]
pub(super) struct Stats {
    pub(super) counts: RetryCounts,
    pub(super) classes: PerClass<ClassCounts>,
    pub(super) latencies: LatencyHistogram,
    history: VecDeque<AttemptRecord>,
    learnt: Option<Duration>,
}

/// How calls ended, since the layer was built. Every call that is over is in exactly one of `succeeded`,
/// `recovered`, `failed` and `abandoned`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryCounts {
    /// Calls that succeeded at their first attempt.
    pub succeeded: u64,
    /// Calls that succeeded after one retry or more.
    pub recovered: u64,
    /// Calls whose last attempt did not succeed.
    pub failed: u64,
    /// Calls whose future was dropped before it was done.
    pub abandoned: u64,
    /// Attempts that were sent, beyond the first of each call.
    pub retries: u64,
    /// Calls given up because failures of their class are not tried again, or are no failures of the peer's.
    pub not_retryable: u64,
    /// Calls given up after their last attempt.
    pub exhausted: u64,
    /// Calls given up because the request cannot be sent twice without harm.
    pub not_repeatable: u64,
    /// Calls given up because the peer asked for it, or because somebody nearer to it has tried again already.
    pub forbidden: u64,
    /// Calls given up because no further attempt would have ended in time.
    pub out_of_time: u64,
    /// Calls whose retry was granted, and for which the service below was broken when it was to be made ready.
    pub not_ready: u64,
    /// Calls given up because the budget gave no credit: too many attempts fail.
    pub peer_was_ill: u64,
    /// Calls given up because the budget gave no credit: the share of retries was used up.
    pub share_was_used_up: u64,
}

/// What became of the failures of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassCounts {
    /// Attempts that failed like this.
    pub failed: u64,
    /// Those of them after which another attempt was granted.
    pub retried: u64,
    /// Those of these after which the next attempt succeeded.
    pub recovered: u64,
}

/// One attempt of a call that did not succeed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptRecord {
    /// When it ended.
    pub at: Instant,
    /// The number of the attempt within its call, from 1.
    pub attempt: u32,
    /// How it failed; `None` if it succeeded, or came to nothing that has a class.
    pub class: Option<ErrorClass>,
    /// Why it was not followed by another one; `None` if it was, or if it succeeded.
    pub stop: Option<Stop>,
    /// How long the call waited before it.
    pub delay: Duration,
    /// How long it took, from when it was first found waiting.
    pub latency: Duration,
}

impl Stats {
    pub(super) fn new() -> Self {
        Self {
            counts: RetryCounts::default(),
            classes: PerClass::default(),
            latencies: LatencyHistogram::new(),
            history: VecDeque::with_capacity(HISTORY),
            learnt: None,
        }
    }

    /// An attempt has ended.
    pub(super) fn attempt(&mut self, record: AttemptRecord) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(record);
        if let Some(class) = record.class {
            self.classes[class].failed += 1;
        }
    }

    /// An attempt has failed, and is followed by another one or has ended the call.
    pub(super) fn decided(&mut self, record: AttemptRecord) {
        self.attempt(record);
        match (record.stop, record.class) {
            (Some(stop), _) => self.stop(stop),
            (None, Some(class)) => self.classes[class].retried += 1,
            (None, None) => {}
        }
    }

    /// How long an attempt takes as a rule; the first few, which open connections, are no rule.
    pub(super) fn typical(&self) -> Option<Duration> {
        (self.latencies.samples() >= ENOUGH).then(|| self.latencies.quantile(0.5)).flatten()
    }

    /// A call has been given up.
    pub(super) fn stop(&mut self, stop: Stop) {
        self.counts.failed += 1;
        let counts = &mut self.counts;
        *match stop {
            Stop::NotRetryable => &mut counts.not_retryable,
            Stop::Exhausted => &mut counts.exhausted,
            Stop::NotRepeatable => &mut counts.not_repeatable,
            Stop::Forbidden => &mut counts.forbidden,
            Stop::OutOfTime => &mut counts.out_of_time,
            Stop::NoCredit(NoCredit::PeerIsIll) => &mut counts.peer_was_ill,
            Stop::NoCredit(NoCredit::ShareIsUsedUp) => &mut counts.share_was_used_up,
        } += 1;
    }

    /// An attempt after this delay has succeeded or failed. `start` is where learning begins.
    pub(super) fn learn(&mut self, start: Duration, max: Duration, delay: Duration, worked: bool) {
        let known = self.learnt.unwrap_or(start);
        let towards = if worked { delay } else { known.saturating_mul(2) };
        let step = known.abs_diff(towards) / LEARNING;
        let learnt = if towards < known { known.saturating_sub(step) } else { known.saturating_add(step) };
        self.learnt = Some(learnt.clamp((start / LEAST).min(max), max));
    }

    /// The delay that has worked, if anything has been learnt.
    pub(super) const fn learnt(&self) -> Option<Duration> {
        self.learnt
    }

    /// The last attempts, oldest first.
    pub(super) fn history(&self) -> Vec<AttemptRecord> {
        self.history.iter().copied().collect()
    }
}

/// Of so few samples, half may be of connections that were still to be opened.
const ENOUGH: u32 = 8;
/// Enough to see what an outage looks like.
const HISTORY: usize = 100;
/// A step goes an eighth of the way, as TCP's estimate of the round-trip time does.
const LEARNING: u32 = 8;
/// What is learnt stays above a tenth of the first delay, so that it can grow again.
const LEAST: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::clock::epoch;

    #[test]
    fn the_history_keeps_the_last_hundred() {
        let mut stats = Stats::new();
        for attempt in 1..=250 {
            let (delay, latency) = (Duration::ZERO, Duration::ZERO);
            stats.attempt(AttemptRecord {
                at: epoch(),
                attempt,
                class: Some(ErrorClass::Server),
                stop: None,
                delay,
                latency,
            });
        }
        let history = stats.history();
        assert_eq!((history.len(), history[0].attempt, history[99].attempt), (100, 151, 250));
        assert_eq!(stats.classes[ErrorClass::Server].failed, 250);
    }

    #[test]
    fn a_delay_that_works_draws_the_learnt_one_near_and_one_that_does_not_pushes_it_up() {
        let (start, max) = (Duration::from_millis(800), Duration::from_secs(10));
        let mut stats = Stats::new();
        stats.learn(start, max, Duration::ZERO, true);
        assert_eq!(stats.learnt(), Some(Duration::from_millis(700)));
        stats.learn(start, max, Duration::ZERO, false);
        assert_eq!(stats.learnt(), Some(Duration::from_micros(787_500)));
        (0..1_000).for_each(|_| stats.learn(start, max, Duration::ZERO, false));
        assert_eq!(stats.learnt(), Some(max));
        (0..1_000).for_each(|_| stats.learn(start, max, Duration::ZERO, true));
        assert_eq!(stats.learnt(), Some(start / 10));
    }
}
