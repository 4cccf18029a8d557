//! The spread of the times at which rejected clients return.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{
    algo::{after, golden, scale},
    call::Rejected,
    rt::clock,
};

/// How much longer than the rejection says an answer lets its client wait, as a ratio of the wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Jitter(f64);

impl Jitter {
    /// Up to a quarter longer: a crowd that was rejected at once returns over a quarter of its wait.
    pub(crate) const DEFAULT: Self = Self(0.25);

    /// A ratio out of range becomes the nearest one, and NaN becomes 0.
    pub(crate) const fn new(ratio: f64) -> Self {
        // A `max` with NaN returns the other number.
        Self(ratio.max(0.0).min(1.0))
    }

    /// The same rejection, with a longer wait. An answer whose unit is `step` needs a step more, or a short wait would
    /// have no jitter at all.
    pub(super) fn spread(self, rejected: Rejected, step: Duration) -> Rejected {
        let Some(at) = rejected.retry_at().filter(|_| self.0 > 0.0) else { return rejected };
        // Relaxed: only the number counts.
        let turn = TURN.fetch_add(1, Ordering::Relaxed);
        // One reading: a refused call should cost little.
        let now = clock::now();
        let longest = scale(at.saturating_duration_since(now), self.0).max(step);
        rejected.at(Some(after(at.max(now), scale(longest, golden(turn)))))
    }
}

/// The number of answers so far. A sequence spreads a crowd more evenly than random numbers, and needs no generator.
static TURN: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{call::Reason, telemetry::Name};

    const SECOND: Duration = Duration::from_secs(1);

    fn delays(jitter: Jitter, delay: Duration, step: Duration) -> Vec<Duration> {
        let rejected = || Rejected::new(Name::new("limit"), Reason::QueueFull).after(delay);
        let spread = || jitter.spread(rejected(), step).retry_after().expect("a time");
        (0..1_000).map(|_| spread()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn case_33_a_wait_gets_longer_and_never_shorter() {
        for (delay, step, longest) in [
            (40 * SECOND, SECOND, 50 * SECOND),
            (SECOND, SECOND, 2 * SECOND),
            (SECOND, SECOND / 1_000, 5 * SECOND / 4),
        ] {
            let delays = delays(Jitter::DEFAULT, delay, step);
            assert!(delays.iter().all(|spread| (delay..longest).contains(spread)));
        }
        assert!(delays(Jitter::new(0.0), SECOND, SECOND).iter().all(|delay| *delay == SECOND));
        assert!(delays(Jitter::DEFAULT, Duration::MAX, SECOND).iter().all(|delay| *delay > SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_returns_evenly() {
        let mut delays = delays(Jitter::DEFAULT, 40 * SECOND, SECOND);
        delays.sort_unstable();
        for tenth in 0..10_u32 {
            let span = 40 * SECOND + SECOND * tenth..41 * SECOND + SECOND * tenth;
            let count = delays.iter().filter(|delay| span.contains(delay)).count();
            assert!((80..=120).contains(&count), "{count} of 1000 return within a tenth of the time");
        }
    }

    #[test]
    fn case_21_a_ratio_out_of_range_does_no_harm() {
        let ratios = [f64::NAN, -1.0, f64::NEG_INFINITY, 7.0, f64::INFINITY, 0.5];
        assert_eq!(ratios.map(Jitter::new), [0.0, 0.0, 0.0, 1.0, 1.0, 0.5].map(Jitter));
        let rejected = Rejected::new(Name::new("drain"), Reason::Draining);
        assert_eq!(Jitter::DEFAULT.spread(rejected, SECOND).retry_after(), None);
    }
}
