//! How long calls take: quantiles over the recent ones, in constant memory.

use std::time::Duration;

/// Counts latencies in buckets that are an eighth of an octave wide, over the last 500 to 1 000 samples.
///
/// A quantile is off by at most an eighth of itself, upwards. Two generations make the window: when the younger one
/// is full it becomes the elder, so that what was long ago is forgotten without a clock.
#[derive(Clone, Debug)]
pub(crate) struct LatencyHistogram {
    younger: Generation,
    elder: Generation,
}

#[derive(Clone, Debug)]
struct Generation {
    buckets: Box<[u16]>,
    total: u16,
}

impl LatencyHistogram {
    /// No samples.
    pub(crate) fn new() -> Self {
        Self { younger: Generation::new(), elder: Generation::new() }
    }

    /// Adds one latency.
    pub(crate) fn record(&mut self, latency: Duration) {
        if self.younger.total == GENERATION {
            std::mem::swap(&mut self.younger, &mut self.elder);
            self.younger.clear();
        }
        self.younger.buckets[bucket_of(latency)] += 1;
        self.younger.total += 1;
    }

    /// How many samples it holds.
    pub(crate) fn samples(&self) -> u32 {
        u32::from(self.younger.total) + u32::from(self.elder.total)
    }

    /// The latency that a ratio of `share` of the calls does not exceed; `None` while there are no samples.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let total = self.samples();
        if total == 0 {
            return None;
        }
        let rank = (f64::from(total) * share).ceil().clamp(1.0, f64::from(total));
        let mut seen = 0_u32;
        let mut counts = self.younger.buckets.iter().zip(&self.elder.buckets);
        counts
            .position(|(younger, elder)| {
                seen += u32::from(*younger) + u32::from(*elder);
                f64::from(seen) >= rank
            })
            .map(upper_bound)
    }

    /// The same, estimated within its bucket: off by less than an eighth of itself, upwards or downwards, and by nothing
    /// where latencies are spread evenly.
    pub(crate) fn estimate(&self, share: f64) -> Option<Duration> {
        let rank = f64::from(self.samples()) * share;
        let mut below = 0.0;
        let counts = self.younger.buckets.iter().zip(&self.elder.buckets);
        let counts = counts.map(|(younger, elder)| f64::from(*younger) + f64::from(*elder));
        counts.enumerate().filter(|(_, count)| *count > 0.0).find_map(|(bucket, count)| {
            below += count;
            let above = ((below - rank) / count).clamp(0.0, 1.0);
            let (from, to) = (lower_bound(bucket), upper_bound(bucket));
            (below >= rank).then(|| to.saturating_sub(to.saturating_sub(from).mul_f64(above)))
        })
    }
}

impl Generation {
    fn new() -> Self {
        Self { buckets: vec![0; BUCKETS].into(), total: 0 }
    }

    fn clear(&mut self) {
        self.buckets.fill(0);
        self.total = 0;
    }
}

/// The three bits after the leading one choose the bucket within the octave.
fn bucket_of(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).clamp(MIN_MICROS, MAX_MICROS);
    let octave = micros.ilog2();
    let eighth = (micros >> (octave - 3)) & 7;
    usize::try_from(u64::from(octave - 3) * 8 + eighth).expect("at most 8 × 33")
}

/// The shortest latency of a bucket, or just below it.
fn lower_bound(bucket: usize) -> Duration {
    bucket.checked_sub(1).map_or(Duration::from_micros(MIN_MICROS - 1), upper_bound)
}

/// The longest latency of a bucket.
fn upper_bound(bucket: usize) -> Duration {
    let (octave, eighth) = (bucket / 8, bucket as u64 % 8);
    Duration::from_micros((((8 + eighth) + 1) << octave) - 1)
}

/// A generation: enough for a p99, few enough to follow a backend that changes.
const GENERATION: u16 = 500;
/// Shorter ones are not told apart: it is the shortest with three bits after the leading one.
const MIN_MICROS: u64 = 8;
/// About 19 hours; longer ones are taken for this.
const MAX_MICROS: u64 = (1 << 36) - 1;
const BUCKETS: usize = 33 * 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_samples_it_knows_nothing() {
        assert_eq!(LatencyHistogram::new().quantile(0.5), None);
    }

    #[test]
    fn the_shortest_and_the_longest_latency_have_a_bucket() {
        let mut histogram = LatencyHistogram::new();
        for latency in [Duration::ZERO, Duration::MAX] {
            histogram.record(latency);
        }
        assert_eq!(histogram.quantile(0.0), Some(Duration::from_micros(8)));
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_micros(MAX_MICROS)));
    }

    #[test]
    fn a_backend_that_changes_is_followed_within_two_generations() {
        let mut histogram = LatencyHistogram::new();
        (0..5_000).for_each(|_| histogram.record(Duration::from_millis(10)));
        (0..1_000).for_each(|_| histogram.record(Duration::from_secs(1)));
        assert!(histogram.quantile(0.01) >= Some(Duration::from_secs(1)));
        assert_eq!(histogram.samples(), 1_000);
    }

    #[test]
    fn an_estimate_is_exact_where_latencies_are_spread_evenly() {
        let mut histogram = LatencyHistogram::new();
        assert_eq!(histogram.estimate(0.95), None);
        (1..=1_000).for_each(|step| histogram.record(Duration::from_micros(step * 100)));
        for percent in [1.0, 10.0, 50.0, 90.0, 95.0] {
            let found = histogram.estimate(percent / 100.0).expect("there are samples").as_secs_f64() * 1e3;
            assert!((found - percent).abs() < 0.01 * percent + 0.1, "{found} for {percent} ms");
        }
    }

    proptest! {
        #[test]
        fn a_quantile_is_off_by_an_eighth_at_most(
            mut micros in prop::collection::vec(8_u64..10_000_000, 1..500),
            share in 0.0_f64..=1.0,
        ) {
            let mut histogram = LatencyHistogram::new();
            for latency in &micros {
                histogram.record(Duration::from_micros(*latency));
            }
            micros.sort_unstable();
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
            let rank = ((micros.len() as f64 * share).ceil() as usize).clamp(1, micros.len());
            let exact = Duration::from_micros(micros[rank - 1]);
            let found = histogram.quantile(share).expect("there are samples");
            prop_assert!(found >= exact && found <= exact + exact / 8, "{found:?} for {exact:?}");
            let estimate = histogram.estimate(share).expect("there are samples");
            prop_assert!(estimate <= found && estimate + exact / 8 + Duration::from_micros(1) >= exact, "{estimate:?} for {exact:?}");
        }
    }
}
