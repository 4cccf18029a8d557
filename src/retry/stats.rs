//! The memory of a retry layer: counts, the last attempts, and the delay that works.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    config::RetryConfig,
    state::{Call, Stop},
};
use crate::{
    algo::LatencyHistogram,
    call::{ErrorClass, PerClass},
    retry_budget::RejectedBy,
};

/// The memory of a retry layer. A call that succeeds at once leaves no trace here.
#[derive(Debug)]
pub(super) struct Stats {
    pub(super) counts: RetryCounts,
    pub(super) classes: PerClass<ClassCounts>,
    pub(super) latencies: LatencyHistogram,
    history: VecDeque<AttemptRecord>,
    learnt: Option<Duration>,
}

/// How calls ended, since the layer was built. Every call that is over counts in exactly one of `succeeded`,
/// `recovered`, `failed` and `abandoned`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RetryCounts {
    /// Calls that succeeded at their first attempt.
    pub succeeded: u64,
    /// Calls that succeeded after one retry or more.
    pub recovered: u64,
    /// Calls whose last attempt did not succeed.
    pub failed: u64,
    /// Calls whose future was dropped before it completed.
    pub abandoned: u64,
    /// Attempts that were sent, beyond the first of each call.
    pub retries: u64,
    /// Failed calls whose class of failure is not retried, or whose result is no failure of the backend.
    pub not_retryable: u64,
    /// Failed calls that had no attempt left.
    pub exhausted: u64,
    /// Failed calls whose request cannot be copied, or is not idempotent.
    pub not_resendable: u64,
    /// Failed calls whose backend forbids a retry, or for which an inner hop has retried already.
    pub forbidden: u64,
    /// Failed calls for which no further attempt would have ended in time.
    pub out_of_time: u64,
    /// Failed calls for which the circuit was open: before their first attempt, or after one.
    pub circuit_open: u64,
    /// Failed calls whose next attempt would have had a delay, outside of a tokio runtime.
    pub no_runtime: u64,
    /// Failed calls that ended with a readiness error: a retry was granted, and the inner service broke before it.
    pub not_ready: u64,
    /// Failed calls whose retry the budget rejected because too many attempts fail.
    pub rejected_by_health: u64,
    /// Failed calls whose retry the budget rejected because the ratio was used up.
    pub rejected_by_ratio: u64,
}

/// The failures of one class, and their consequences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ClassCounts {
    /// Attempts that failed with this class.
    pub failed: u64,
    /// Failures of this class after which another attempt was granted.
    pub retried: u64,
    /// Failures of this class after which the next attempt succeeded.
    pub recovered: u64,
}

/// One attempt of a call that did not succeed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AttemptRecord {
    /// When the attempt ended. Serialised as `ago`, the time since then.
    #[cfg_attr(feature = "serde", serde(rename = "ago", serialize_with = "super::serde::ago"))]
    pub at: Instant,
    /// The number of the attempt within its call, from 1.
    pub attempt: u32,
    /// The class of its failure. `None` if it succeeded, or if its result has no class.
    pub class: Option<ErrorClass>,
    /// Why no attempt followed. `None` if one followed, or if the attempt succeeded.
    pub stop: Option<Stop>,
    /// The delay before the attempt.
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub delay: Duration,
    /// How long the attempt took, from when it was first found waiting; in a stack with a total timeout, from its call.
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub latency: Duration,
}

impl AttemptRecord {
    pub(super) fn new(
        call: &Call,
        class: Option<ErrorClass>,
        started: Option<Instant>,
        now: Instant,
    ) -> Self {
        let latency = started.map_or(Duration::ZERO, |started| now.saturating_duration_since(started));
        Self { at: now, attempt: call.attempt, class, stop: None, delay: call.delay, latency }
    }
}

impl Stats {
    pub(super) fn new() -> Self {
        Self {
            counts: RetryCounts::default(),
            classes: PerClass::default(),
            latencies: LatencyHistogram::new(),
            history: VecDeque::new(),
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

    /// An attempt has failed; another one follows, or the call has ended.
    pub(super) fn decided(&mut self, record: AttemptRecord) {
        self.attempt(record);
        match (record.stop, record.class) {
            (Some(stop), _) => self.stop(stop),
            (None, Some(class)) => self.classes[class].retried += 1,
            (None, None) => {}
        }
    }

    /// The median time of an attempt. The first few attempts, which open connections, do not count.
    pub(super) fn typical(&self) -> Option<Duration> {
        (self.latencies.samples() >= ENOUGH).then(|| self.latencies.quantile(0.5)).flatten()
    }

    /// A call has failed.
    pub(super) fn stop(&mut self, stop: Stop) {
        self.counts.failed += 1;
        let counts = &mut self.counts;
        *match stop {
            Stop::NotRetryable => &mut counts.not_retryable,
            Stop::Exhausted => &mut counts.exhausted,
            Stop::NotResendable => &mut counts.not_resendable,
            Stop::Forbidden => &mut counts.forbidden,
            Stop::OutOfTime => &mut counts.out_of_time,
            Stop::CircuitOpen => &mut counts.circuit_open,
            Stop::NoRuntime => &mut counts.no_runtime,
            Stop::Budget(RejectedBy::Health) => &mut counts.rejected_by_health,
            Stop::Budget(RejectedBy::Ratio) => &mut counts.rejected_by_ratio,
        } += 1;
    }

    /// The last attempt of a call has succeeded or failed. An adaptive backoff learns from its delay.
    pub(super) fn learn(&mut self, config: &RetryConfig, call: &Call, worked: bool) {
        let Some(start) = config.backoff.learns_from().filter(|_| call.learns) else { return };
        let known = self.learnt.unwrap_or(start);
        let towards = if worked { call.delay } else { known.saturating_mul(2) };
        let step = known.abs_diff(towards) / LEARNING;
        let learnt = if towards < known { known.saturating_sub(step) } else { known.saturating_add(step) };
        self.learnt = Some(learnt.clamp((start / LEAST).min(config.max_delay), config.max_delay));
    }

    /// The delay that has worked, once anything was learnt.
    pub(super) const fn learnt(&self) -> Option<Duration> {
        self.learnt
    }

    /// The last attempts, oldest first.
    pub(super) fn history(&self) -> Vec<AttemptRecord> {
        self.history.iter().copied().collect()
    }
}

/// With fewer samples, half of them may be of connections that were still opening.
const ENOUGH: u32 = 8;
/// Enough to show the course of an outage.
const HISTORY: usize = 100;
/// A step covers an eighth of the distance, as TCP's estimate of the round-trip time does (RFC 6298).
const LEARNING: u32 = 8;
/// The learnt delay stays above a tenth of the first delay, so that it can grow again.
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
    fn a_delay_that_works_lowers_the_learnt_one_and_one_that_fails_raises_it() {
        let start = Duration::from_millis(800);
        let config = RetryConfig::adaptive(start).max_delay(Duration::from_secs(10));
        let mut call = Call::new(epoch(), None);
        let mut stats = Stats::new();
        stats.learn(&config, &call, true);
        assert_eq!(stats.learnt(), None, "the delay was not of the adaptive sequence");
        call.learns = true;
        stats.learn(&config, &call, true);
        assert_eq!(stats.learnt(), Some(Duration::from_millis(700)));
        stats.learn(&config, &call, false);
        assert_eq!(stats.learnt(), Some(Duration::from_micros(787_500)));
        (0..1_000).for_each(|_| stats.learn(&config, &call, false));
        assert_eq!(stats.learnt(), Some(Duration::from_secs(10)));
        (0..1_000).for_each(|_| stats.learn(&config, &call, true));
        assert_eq!(stats.learnt(), Some(start / 10));
    }
}
