//! The pace at which calls that wait are served.

use std::time::{Duration, Instant};

/// The time from one call that is served to the next, while calls wait.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Zero until it is known.
    pub(super) mean: Duration,
    pub(super) since: Option<Instant>,
}

impl Pace {
    /// A time above the longest wait says no more than the longest wait. Without the bound, a backend that hung once
    /// would make later calls look hopeless.
    pub(super) fn served(&mut self, now: Instant, longest_wait: Duration) {
        let Some(since) = self.since.replace(now) else { return };
        let took = now.saturating_duration_since(since).min(longest_wait);
        self.mean = match self.mean {
            Duration::ZERO => took,
            mean => (mean * (SMOOTHING - 1) + took) / SMOOTHING,
        };
    }
}

/// An outlier moves the mean by an eighth, as in the round-trip time of TCP.
const SMOOTHING: u32 = 8;
