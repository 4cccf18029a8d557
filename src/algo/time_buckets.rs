//! The sums over the last span of time, exact to a bucket, in constant memory.

use std::time::{Duration, Instant};

/// A value that buckets add up, and subtract again when a bucket leaves the window.
pub(crate) trait Summed: Copy + Default {
    fn add(&mut self, other: Self);
    fn subtract(&mut self, other: Self);
}

/// Buckets of equal width in a ring; a bucket leaves whole when the window has moved past it.
///
/// Time alone moves the window. Each call has the same cost, however many calls the window holds.
#[derive(Clone, Debug)]
pub(crate) struct TimeBuckets<T> {
    ring: [T; BUCKETS],
    sum: T,
    start: Instant,
    width: u128,
    current: u64,
}

impl<T: Summed> TimeBuckets<T> {
    /// An empty window over the last `span`.
    pub(crate) fn new(span: Duration, now: Instant) -> Self {
        let width = (span.as_nanos() / BUCKETS as u128).max(1);
        Self { ring: [T::default(); BUCKETS], sum: T::default(), start: now, width, current: 0 }
    }

    /// Moves the window to `now`, and returns the sum of the buckets that leave it. Time never goes back.
    pub(crate) fn advance(&mut self, now: Instant) -> T {
        let target = self.bucket_of(now);
        let steps = target.saturating_sub(self.current);
        let mut left = T::default();
        for step in 1..=steps.min(BUCKETS as u64) {
            let slot = Self::slot(self.current + step);
            self.sum.subtract(self.ring[slot]);
            left.add(self.ring[slot]);
            self.ring[slot] = T::default();
        }
        self.current = self.current.max(target);
        left
    }

    /// Adds to the bucket that is current since the last [`advance`](Self::advance).
    pub(crate) fn add(&mut self, samples: T) {
        self.add_to(self.current, samples);
    }

    /// Adds `count` samples that are known to have come evenly since `since`; how many of them the window holds.
    pub(crate) fn add_since(&mut self, since: Instant, count: u64, samples: impl Fn(u64) -> T) -> u64 {
        let first = self.bucket_of(since).min(self.current);
        let (buckets, count) = (u128::from(self.current - first) + 1, u128::from(count));
        // How many had come by the end of the nth bucket; the last one is the current one.
        let by = |nth: u128| u64::try_from(count * nth / buckets).unwrap_or(u64::MAX);
        let held = buckets.min(BUCKETS as u128);
        for nth in buckets - held..buckets {
            let bucket = first.saturating_add(u64::try_from(nth).unwrap_or(u64::MAX));
            self.add_to(bucket, samples(by(nth + 1) - by(nth)));
        }
        by(buckets) - by(buckets - held)
    }

    /// The sum over the window.
    pub(crate) fn sum(&self) -> T {
        self.sum
    }

    /// When the current bucket ends: until then nothing leaves the window.
    pub(crate) fn current_ends(&self) -> Instant {
        self.starts(self.current.saturating_add(1))
    }

    /// The buckets, oldest first, each with the instant at which it began.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Instant, T)> {
        let oldest = (self.current + 1).saturating_sub(BUCKETS as u64);
        (oldest..=self.current).map(|bucket| (self.starts(bucket), self.ring[Self::slot(bucket)]))
    }

    fn add_to(&mut self, bucket: u64, samples: T) {
        self.ring[Self::slot(bucket)].add(samples);
        self.sum.add(samples);
    }

    fn bucket_of(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.start).as_nanos();
        u64::try_from(elapsed / self.width).unwrap_or(u64::MAX)
    }

    fn starts(&self, bucket: u64) -> Instant {
        let nanos = self.width.saturating_mul(u128::from(bucket));
        let seconds = u64::try_from(nanos / NANOS_PER_SECOND).unwrap_or(u64::MAX);
        let rest = u32::try_from(nanos % NANOS_PER_SECOND).expect("a remainder by 10⁹ is a u32");
        super::after(self.start, Duration::new(seconds, rest))
    }

    fn slot(bucket: u64) -> usize {
        usize::try_from(bucket % BUCKETS as u64).expect("a remainder by 10 is a usize")
    }
}

/// linkerd's and Polly's number: a step of a tenth of the window is finer than any threshold needs.
const BUCKETS: usize = 10;
const NANOS_PER_SECOND: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{algo::Tally, rt::clock::epoch};

    const FAILED: Tally = Tally { total: 1, failed: 1, slow: 0 };

    #[test]
    fn a_sample_stays_to_the_end_of_its_window_and_not_longer() {
        let mut window = TimeBuckets::new(Duration::from_secs(10), epoch());
        window.add(FAILED);
        window.advance(epoch() + Duration::from_nanos(9_999_999_999));
        assert_eq!(window.sum().total, 1);
        window.advance(epoch() + Duration::from_secs(10));
        assert_eq!(window.sum().total, 0);
    }

    #[test]
    fn an_idle_gap_of_more_than_u32_buckets_does_not_wedge_the_ring() {
        let mut window = TimeBuckets::new(Duration::from_nanos(10), epoch());
        window.add(FAILED);
        let late = epoch() + Duration::from_secs(60);
        window.advance(late);
        assert_eq!(window.sum().total, 0);
        window.add(FAILED);
        assert_eq!(window.sum().total, 1);
        assert_eq!(window.current_ends(), late + Duration::from_nanos(1));
    }

    #[test]
    fn a_clock_that_steps_back_changes_nothing() {
        let mut window = TimeBuckets::new(Duration::from_secs(10), epoch() + Duration::from_secs(5));
        window.add(FAILED);
        window.advance(epoch());
        assert_eq!(window.sum().total, 1);
    }

    #[test]
    fn what_came_evenly_leaves_evenly() {
        let mut window = TimeBuckets::new(Duration::from_secs(10), epoch());
        let second = |n| epoch() + Duration::from_secs(n);
        window.advance(second(39));
        assert_eq!(window.add_since(epoch(), 40_003, Tally::healthy), 10_001);
        assert_eq!(window.sum().total, 10_001);
        assert_eq!(window.advance(second(44)).total, 5_000);
        window.add_since(second(44), 7, Tally::healthy);
        assert_eq!(window.sum().total, 5_008);
        window.advance(second(54));
        assert_eq!(window.sum().total, 0);
    }

    #[test]
    fn a_few_that_came_long_ago_do_not_come_back() {
        let mut window = TimeBuckets::new(Duration::from_secs(10), epoch());
        window.advance(epoch() + Duration::from_secs(3_599));
        assert_eq!(window.add_since(epoch(), 600, Tally::healthy), 2);
        assert_eq!(window.sum().total, 2);
        assert!(window.add_since(epoch(), u64::MAX, Tally::healthy) <= u64::MAX / 360 + 1);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_list_of_samples(steps in prop::collection::vec((0_u64..4_000, any::<bool>()), 1..200)) {
            let mut window = TimeBuckets::new(Duration::from_secs(10), epoch());
            let mut samples: Vec<(u64, bool)> = Vec::new();
            let mut millis = 0;
            for (gap, failed) in steps {
                millis += gap;
                window.advance(epoch() + Duration::from_millis(millis));
                window.add(Tally { total: 1, failed: u32::from(failed), slow: 0 });
                samples.push((millis / 1_000, failed));
                samples.retain(|(second, _)| *second + 10 > millis / 1_000);
                prop_assert_eq!(window.sum().total as usize, samples.len());
                prop_assert_eq!(window.sum().failed as usize, samples.iter().filter(|s| s.1).count());
                let listed: u32 = window.iter().map(|(_, tally)| tally.total).sum();
                prop_assert_eq!(listed, window.sum().total);
            }
        }
    }
}
