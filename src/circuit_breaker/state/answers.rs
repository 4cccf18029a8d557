//! When the backend last answered, and how long it takes: the evidence by which a cut call is judged.
//!
//! A caller that gives up says nothing by itself. An impatient or a malicious caller gives up on a healthy backend too,
//! and a backend that answers no call makes every caller give up. `state/tests/cut_calls.rs` simulates both.

use std::time::{Duration, Instant};

use super::ending::Timing;
use crate::algo::TailLatency;

/// The evidence about the backend's answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answers {
    /// The end of the last interval in which answers were counted.
    counted_until: Instant,
    /// The latest instant by which the last answer had come; before any answer, `None`.
    last: Option<Instant>,
    /// The longest pause between two answers, in this period and in the one before.
    pauses: [Duration; 2],
    period_began: Instant,
    waits: TailLatency,
    /// The patience while too few waits are known. It is also the shortest silence that means anything.
    first_patience: Duration,
    last_failure: Option<Instant>,
}

impl Answers {
    pub(super) fn new(first_patience: Duration, now: Instant) -> Self {
        Self {
            counted_until: now,
            last: None,
            pauses: [Duration::ZERO; 2],
            period_began: now,
            waits: TailLatency::default(),
            first_patience,
            last_failure: None,
        }
    }

    /// The backend gave so many answers since the last count.
    pub(super) fn count(&mut self, answers: u64, now: Instant) {
        if answers == 0 {
            return;
        }
        if now.saturating_duration_since(self.period_began) >= PERIOD {
            self.pauses = [Duration::ZERO, self.pauses[0]];
            self.period_began = now;
        }
        // Within a count only the mean pause is known.
        let span = now.saturating_duration_since(self.counted_until);
        let mean = span / u32::try_from(answers).unwrap_or(u32::MAX);
        self.pauses[0] = self.pauses[0].max(mean.saturating_mul(LONGEST_TO_MEAN).min(span));
        (self.counted_until, self.last) = (now, Some(now));
    }

    /// Calls reach the backend again from now on: the time in which it was not asked is no pause between answers.
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

    /// How long a half-open circuit without any answer waits for more evidence than cut probes.
    pub(super) fn half_open_patience(&self) -> Duration {
        self.first_patience.max(self.waits.estimate().unwrap_or_default()).saturating_mul(HALF_OPEN_PATIENCE)
    }

    /// Whether a call that was cut now is a failure of the backend.
    ///
    /// All of this must hold: the call did not wait for its caller to send the rest of the request; it waited longer than
    /// 99 % of the successful calls do; no call was answered since then; the backend has been silent for longer than in
    /// any usual pause; and some time has passed since the last such failure. The last two rules stop attackers that
    /// hold calls of a slow route for just above the typical time, and attackers that send many such calls at once.
    pub(super) fn is_failure(&mut self, timing: Timing, now: Instant) -> bool {
        let Some(since) = timing.waiting_since else { return false };
        let patience = self.waits.estimate().unwrap_or(self.first_patience).mul_f64(TOLERANCE);
        let usual = self.pauses[0].max(self.pauses[1]).saturating_mul(SILENT_PAUSES).max(self.first_patience);
        let longer = |from: Instant, than: Duration| now.saturating_duration_since(from) >= than;
        let is_failure = longer(since, patience)
            && self.last.is_none_or(|last| last < since && longer(last, usual.mul_f64(TOLERANCE)))
            && self.last_failure.is_none_or(|last| longer(last, self.first_patience / FAILURES_PER_PATIENCE));
        if is_failure {
            self.last_failure = Some(now);
        }
        is_failure
    }
}

/// Pauses are remembered for one to two minutes, so that a burst of calls cannot make a pause look unusual.
const PERIOD: Duration = Duration::from_secs(60);
/// If calls arrive at random, the longest of twenty pauses is about three times their mean.
const LONGEST_TO_MEAN: u32 = 3;
/// With random arrivals, one pause in many thousands is three times as long as the longest of the last minute.
const SILENT_PAUSES: u32 = 3;
/// The fifty failures that open a circuit by default then take at least two and a half times the patience.
const FAILURES_PER_PATIENCE: u32 = 20;
const HALF_OPEN_PATIENCE: u32 = 10;
/// A timeout of the caller counts from the call, and the wait may count from the first `Pending`, a little later.
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

    /// A backend that answered every 100 ms for ten seconds, within 20 ms.
    fn steady() -> Answers {
        let mut answers = Answers::new(MILLI * 100, at(0));
        for n in 1..=100 {
            answers.count(1, at(100 * n));
            (0..2).for_each(|_| answers.sample(MILLI * 20));
        }
        answers
    }

    #[test]
    fn a_silent_backend_fails_the_calls_that_had_patience() {
        let is_failure = |timing, now| steady().is_failure(timing, at(now));
        assert!(is_failure(cut(10_001), 10_300));
        assert!(!is_failure(cut(10_001), 10_250), "silent for less than three pauses");
        assert!(!is_failure(cut(10_290), 10_300), "the caller was impatient");
        assert!(!is_failure(cut(9_999), 15_000), "an answer has come since the call was sent");
        assert!(!is_failure(Timing::default(), 19_000), "the call waited for its caller");
    }

    #[test]
    fn calls_that_are_cut_together_are_one_failure() {
        let mut answers = steady();
        let failures = (0..100).filter(|_| answers.is_failure(cut(10_001), at(10_300))).count();
        assert_eq!(failures, 1);
        assert!(!answers.is_failure(cut(10_001), at(10_304)));
        assert!(answers.is_failure(cut(10_001), at(10_305)), "a twentieth of the first patience later");
    }

    #[test]
    fn before_any_answer_the_first_patience_counts() {
        let mut answers = Answers::new(MILLI * 1_000, at(0));
        assert!(!answers.is_failure(cut(0), at(900)));
        assert!(answers.is_failure(cut(0), at(1_000)));
        assert!(answers.wants_samples() && !steady().wants_samples());
    }

    #[test]
    fn a_burst_of_answers_does_not_shorten_the_usual_pause_for_a_minute() {
        let mut answers = steady();
        answers.count(1_000_000, at(10_050));
        assert!(!answers.is_failure(cut(10_051), at(10_300)));
        let mut later = steady();
        for n in 1..=130 {
            later.count(1_000_000, at(10_000 + 1_000 * n));
        }
        assert!(later.is_failure(cut(140_001), at(140_120)));
    }

    #[test]
    fn an_open_period_is_no_pause_between_answers() {
        let mut answers = steady();
        answers.resume(at(61_000));
        answers.count(1, at(61_010));
        assert!(answers.is_failure(cut(61_011), at(61_320)));
    }
}
