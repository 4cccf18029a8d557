//! The measured calls of one window, in constant memory.

use std::time::{Duration, Instant};

/// The calls that ended since the window began.
#[derive(Debug)]
pub(super) struct Window {
    since: Option<Instant>,
    /// The times of the latest calls, in microseconds. Its room is taken once, so that no call allocates.
    times: Vec<u32>,
    ends: u32,
    congested: u32,
    /// The most calls in flight.
    pub(super) peak: u32,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { since: None, times: Vec::with_capacity(TIMES), ends: 0, congested: 0, peak: 0 }
    }

    /// A call with this time has ended, among so many in flight. Without a time, the backend had too many.
    pub(super) fn count(&mut self, took: Option<Duration>, in_flight: u32, now: Instant) {
        self.since.get_or_insert(now);
        self.peak = self.peak.max(in_flight);
        if let Some(took) = took {
            let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
            let at = (self.ends - self.congested) as usize % TIMES;
            match self.times.get_mut(at) {
                Some(oldest) => *oldest = micros,
                None => self.times.push(micros),
            }
        } else {
            self.congested += 1;
        }
        self.ends = self.ends.saturating_add(1);
    }

    /// How many calls have ended.
    pub(super) fn ends(&self) -> u32 {
        self.ends
    }

    /// Whether so many calls asked for fewer calls that it is no chance.
    pub(super) fn is_congested(&self) -> bool {
        self.congested.saturating_mul(CONGESTED) >= self.ends && self.congested > 0
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// The median in seconds: exact, over the latest 256 times. `None` without any.
    pub(super) fn median(&mut self) -> Option<f64> {
        let middle = self.times.len() / 2;
        let micros = (!self.times.is_empty()).then(|| *self.times.select_nth_unstable(middle).1)?;
        // Above 0, because it divides.
        Some(f64::from(micros.max(1)) / 1e6)
    }

    /// Begins the next window.
    pub(super) fn restart(&mut self, now: Instant) {
        self.times.clear();
        (self.ends, self.congested, self.peak) = (0, 0, 0);
        self.since = Some(now);
    }
}

/// A kilobyte. The median of 256 times is off by a few percent, in a window of any length.
const TIMES: usize = 256;
/// One call in so many. Below it, a single slow endpoint would lower the limit of all others.
const CONGESTED: u32 = 10;
