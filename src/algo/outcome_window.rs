//! The outcomes of recent calls: of the last `n` calls, or of the last span of time.

use std::time::{Duration, Instant};

use super::{BitRing, Summed, TimeBuckets};

/// Counts of all calls, of failed calls and of slow calls. A call can be both failed and slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) total: u32,
    pub(crate) failed: u32,
    pub(crate) slow: u32,
}

impl Tally {
    /// One call.
    pub(crate) fn one(failed: bool, slow: bool) -> Self {
        Self { total: 1, failed: failed.into(), slow: slow.into() }
    }

    /// Calls that neither failed nor were slow.
    pub(crate) fn healthy(count: u64) -> Self {
        Self { total: u32::try_from(count).unwrap_or(u32::MAX), failed: 0, slow: 0 }
    }

    /// The ratio of failed calls; 0 without calls.
    pub(crate) fn failure_rate(self) -> f64 {
        rate(self.failed, self.total)
    }

    /// The ratio of slow calls, failed calls included; 0 without calls.
    pub(crate) fn slow_rate(self) -> f64 {
        rate(self.slow, self.total)
    }
}

impl Summed for Tally {
    fn add(&mut self, other: Self) {
        self.total = self.total.saturating_add(other.total);
        self.failed = self.failed.saturating_add(other.failed);
        self.slow = self.slow.saturating_add(other.slow);
    }

    fn subtract(&mut self, other: Self) {
        self.total = self.total.saturating_sub(other.total);
        self.failed = self.failed.saturating_sub(other.failed);
        self.slow = self.slow.saturating_sub(other.slow);
    }
}

/// How far back a window reaches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum WindowSpan {
    Calls(u32),
    Time(Duration),
}

/// A sliding window of outcomes.
#[derive(Clone, Debug)]
pub(crate) enum OutcomeWindow {
    Calls { failed: BitRing, slow: BitRing, size: u32, held: u32 },
    Time(TimeBuckets<Tally>),
}

impl OutcomeWindow {
    pub(crate) fn new(span: WindowSpan, now: Instant) -> Self {
        match span {
            WindowSpan::Calls(size) => {
                Self::Calls { failed: BitRing::new(size), slow: BitRing::new(size), size, held: 0 }
            }
            WindowSpan::Time(span) => Self::Time(TimeBuckets::new(span, now)),
        }
    }

    /// A window of another span that holds the newest outcomes of this one.
    pub(crate) fn resized(&self, span: WindowSpan, now: Instant) -> Self {
        match (self, span) {
            (Self::Calls { failed, slow, size, held }, _) => {
                let mut new = Self::new(span, now);
                let unused = (size - held) as usize;
                for (failed, slow) in failed.iter().zip(slow.iter()).skip(unused) {
                    new.push(failed, slow);
                }
                new
            }
            (Self::Time(buckets), WindowSpan::Time(_)) => {
                let begin = buckets.iter().next().map_or(now, |(start, _)| start);
                let mut new = Self::new(span, begin);
                for (start, outcomes) in buckets.iter() {
                    new.advance(start);
                    new.push_tally(outcomes);
                }
                new.advance(now);
                new
            }
            (Self::Time(buckets), WindowSpan::Calls(_)) => {
                let mut new = Self::new(span, now);
                for (_, outcomes) in buckets.iter() {
                    new.push_tally(outcomes);
                }
                new
            }
        }
    }

    /// Moves a time window to `now`. A count window ignores time.
    pub(crate) fn advance(&mut self, now: Instant) {
        if let Self::Time(buckets) = self {
            buckets.advance(now);
        }
    }

    /// Adds one outcome.
    pub(crate) fn push(&mut self, failed: bool, slow: bool) {
        match self {
            Self::Calls { failed: failures, slow: slowness, size, held } => {
                failures.push(failed);
                slowness.push(slow);
                *held = held.saturating_add(1).min(*size);
            }
            Self::Time(buckets) => buckets.add(Tally::one(failed, slow)),
        }
    }

    /// Adds `count` calls that neither failed nor were slow.
    pub(crate) fn push_healthy(&mut self, count: u64) {
        match self {
            Self::Calls { failed, slow, size, held } => {
                failed.push_clear(count);
                slow.push_clear(count);
                *held = held.saturating_add(Tally::healthy(count).total).min(*size);
            }
            Self::Time(buckets) => buckets.add(Tally::healthy(count)),
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        match self {
            Self::Calls { failed, slow, held, .. } => {
                Tally { total: *held, failed: failed.set(), slow: slow.set() }
            }
            Self::Time(buckets) => buckets.sum(),
        }
    }

    /// Until when no outcome leaves the window by time alone; `None` for a count window.
    pub(crate) fn steady_until(&self) -> Option<Instant> {
        match self {
            Self::Calls { .. } => None,
            Self::Time(buckets) => Some(buckets.current_ends()),
        }
    }

    /// Adds outcomes of unknown order: healthy outcomes first, so that the bad ones stay longest.
    fn push_tally(&mut self, outcomes: Tally) {
        match self {
            Self::Time(buckets) => buckets.add(outcomes),
            Self::Calls { size, .. } => {
                let size = *size;
                let bad = outcomes.failed.max(outcomes.slow);
                self.push_healthy(u64::from(outcomes.total.saturating_sub(bad)));
                for nth in bad.saturating_sub(size)..bad {
                    self.push(nth < outcomes.failed, nth < outcomes.slow);
                }
            }
        }
    }
}

fn rate(part: u32, total: u32) -> f64 {
    if total == 0 { 0.0 } else { f64::from(part) / f64::from(total) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::clock::epoch;

    fn calls(size: u32) -> OutcomeWindow {
        OutcomeWindow::new(WindowSpan::Calls(size), epoch())
    }

    #[test]
    fn a_batch_of_healthy_calls_is_as_many_single_ones() {
        let (mut batch, mut single) = (calls(7), calls(7));
        for window in [&mut batch, &mut single] {
            window.push(true, false);
            window.push(true, true);
        }
        batch.push_healthy(5);
        (0..5).for_each(|_| single.push(false, false));
        assert_eq!(batch.tally(), single.tally());
        batch.push_healthy(1);
        assert_eq!(batch.tally(), Tally { total: 7, failed: 1, slow: 1 });
    }

    #[test]
    fn a_window_made_smaller_keeps_the_newest_calls() {
        let mut window = calls(4);
        for failed in [true, true, false, true] {
            window.push(failed, false);
        }
        let smaller = window.resized(WindowSpan::Calls(2), epoch());
        assert_eq!(smaller.tally(), Tally { total: 2, failed: 1, slow: 0 });
    }

    #[test]
    fn a_window_made_longer_keeps_what_it_held() {
        let mut window = OutcomeWindow::new(WindowSpan::Time(Duration::from_secs(10)), epoch());
        window.push(true, false);
        let now = epoch() + Duration::from_secs(9);
        window.advance(now);
        window.push(false, true);
        let mut longer = window.resized(WindowSpan::Time(Duration::from_secs(60)), now);
        assert_eq!(longer.tally(), Tally { total: 2, failed: 1, slow: 1 });
        longer.advance(epoch() + Duration::from_secs(59));
        assert_eq!(longer.tally().total, 2);
    }

    #[test]
    fn time_becomes_calls_and_calls_become_time() {
        let mut window = OutcomeWindow::new(WindowSpan::Time(Duration::from_secs(10)), epoch());
        window.push_healthy(3);
        window.push(true, true);
        window.push(true, false);
        let by_calls = window.resized(WindowSpan::Calls(10), epoch());
        assert_eq!(by_calls.tally(), Tally { total: 5, failed: 2, slow: 1 });
        let by_time = by_calls.resized(WindowSpan::Time(Duration::from_secs(1)), epoch());
        assert_eq!(by_time.tally(), by_calls.tally());
    }

    #[test]
    fn counts_saturate() {
        let mut window = OutcomeWindow::new(WindowSpan::Time(Duration::from_secs(10)), epoch());
        window.push_healthy(u64::MAX);
        window.push(true, true);
        assert_eq!(window.tally(), Tally { total: u32::MAX, failed: 1, slow: 1 });
    }
}
