//! When the backend last answered, and how long it takes: the evidence by which a cut call is judged.
//!
//! A caller that gives up says nothing by itself. An impatient or a malicious caller gives up on a healthy backend too, and
//! a backend that answers no call makes every caller give up. `state/tests/cut_calls.rs` simulates both.

use std::time::{Duration, Instant};

use super::ending::Timing;
use crate::algo::TailLatency;

/// The evidence about the backend's answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answers {
    /// The end of the last interval in which answers were counted.
    counted_until: Instant,
    /// The latest instant by which the last answer had come.
    last: Option<Instant>,
    /// The mean time between two answers, in seconds.
    mean_gap: Option<f64>,
    waits: TailLatency,
    /// The patience while too few waits are known.
    first_patience: Duration,
}

impl Answers {
    pub(super) fn new(first_patience: Duration, now: Instant) -> Self {
        let waits = TailLatency::default();
        Self { counted_until: now, last: None, mean_gap: None, waits, first_patience }
    }

    /// The backend gave so many answers since the last count.
    pub(super) fn count(&mut self, answers: u64, now: Instant) {
        if answers == 0 {
            return;
        }
        let answers = u32::try_from(answers).unwrap_or(u32::MAX);
        let gap = now.saturating_duration_since(self.counted_until).as_secs_f64() / f64::from(answers);
        self.mean_gap = Some(match self.mean_gap {
            // Without the cap, one pause in the traffic would hide a dead backend for ten times as long.
            Some(mean) => {
                mean + (gap.min(mean * MAX_GAP_GROWTH) - mean) * (f64::from(answers) * GAP_WEIGHT).min(1.0)
            }
            None => gap,
        });
        (self.counted_until, self.last) = (now, Some(now));
    }

    /// Calls reach the backend again from now on: the time in which it was not asked is no gap between answers.
    pub(super) fn resume(&mut self, now: Instant) {
        self.counted_until = now;
    }

    /// A call that had to wait this long succeeded.
    pub(super) fn sample(&mut self, waited: Duration) {
        self.waits.record(waited);
    }

    /// Whether every call that waits shall be sampled, because too few waits are known.
    pub(super) fn wants_samples(&self) -> bool {
        self.waits.estimate().is_none()
    }

    /// Whether a call that was cut now is a failure of the backend.
    ///
    /// All of this must hold: the call did not wait for its caller to send the
    /// rest of the request; the call waited longer than 99 % of the successful calls
    /// do; no answer to any call has come since then; and the backend has been silent for ten times its mean gap between
    /// answers. The last rule alone stops attackers that hold calls for just above the typical time on a slow route.
    pub(super) fn is_failure(&self, timing: Timing, now: Instant) -> bool {
        let Some(since) = timing.waiting_since else { return false };
        let patience = self.waits.estimate().unwrap_or(self.first_patience).mul_f64(TOLERANCE);
        let silent = match (self.last, self.mean_gap) {
            (Some(last), Some(gap)) => {
                last < since && now.saturating_duration_since(last).as_secs_f64() >= SILENT_GAPS * gap
            }
            _ => true,
        };
        silent && now.saturating_duration_since(since) >= patience
    }
}

/// The weight of one answer in the mean gap, so that it follows the last twenty or so.
const GAP_WEIGHT: f64 = 0.05;
/// A single gap counts as at most so many times the mean.
const MAX_GAP_GROWTH: f64 = 100.0;
/// With random arrivals, a healthy backend is silent for ten mean gaps once in 22 000 gaps.
const SILENT_GAPS: f64 = 10.0;
/// A timeout of the caller counts from the call, and the wait from the first `Pending`, a little later.
const TOLERANCE: f64 = 0.95;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::clock::epoch;

    const MILLI: Duration = Duration::from_millis(1);

    fn at(millis: u32) -> Instant {
        epoch() + MILLI * millis
    }

    fn cut(since: u32) -> Timing {
        Timing { waiting_since: Some(at(since)), deadline: None }
    }

    /// A backend that answered every 10 ms for a second, within 20 ms.
    fn steady() -> Answers {
        let mut answers = Answers::new(MILLI * 1_000, at(0));
        for n in 1..=100 {
            answers.count(1, at(10 * n));
            (0..2).for_each(|_| answers.sample(MILLI * 20));
        }
        answers
    }

    #[test]
    fn a_silent_backend_fails_the_calls_that_had_patience() {
        let answers = steady();
        assert!(answers.is_failure(cut(1_001), at(1_101)));
        assert!(!answers.is_failure(cut(1_001), at(1_099)), "silent for less than ten gaps");
        assert!(!answers.is_failure(cut(1_090), at(1_101)), "the caller was impatient");
        assert!(!answers.is_failure(cut(999), at(1_500)), "an answer has come since the call was sent");
        assert!(!answers.is_failure(Timing::default(), at(9_000)), "the call waited for its caller");
    }

    #[test]
    fn before_any_answer_the_first_patience_counts() {
        let answers = Answers::new(MILLI * 1_000, at(0));
        assert!(answers.is_failure(cut(0), at(1_000)));
        assert!(!answers.is_failure(cut(0), at(900)));
        assert!(answers.wants_samples() && !steady().wants_samples());
    }

    #[test]
    fn a_pause_in_the_traffic_does_not_hide_a_dead_backend_for_long() {
        let mut answers = steady();
        answers.count(1, at(601_000));
        assert!(answers.is_failure(cut(601_001), at(602_000)));
        assert!(!answers.is_failure(cut(601_001), at(601_300)));
    }

    #[test]
    fn an_open_period_is_no_gap_between_answers() {
        let mut answers = steady();
        answers.resume(at(61_000));
        answers.count(1, at(61_010));
        assert!(answers.is_failure(cut(61_011), at(61_120)));
    }
}
