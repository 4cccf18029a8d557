//! The times of calls by class, and the delays that follow from them.

use std::time::Duration;

use super::config::{After, HedgeConfig};
use crate::algo::LatencyHistogram;

/// The times that the calls of each class take.
#[derive(Debug, Default)]
pub(super) struct Learning {
    /// By class, up to the highest class with a sample.
    histograms: Vec<LatencyHistogram>,
}

impl Learning {
    /// A call of this class took that long. Returns the new delay.
    pub(super) fn record(&mut self, class: u8, latency: Duration, config: &HedgeConfig) -> Option<Duration> {
        let at = usize::from(class);
        if self.histograms.len() <= at {
            self.histograms.resize_with(at + 1, LatencyHistogram::new);
        }
        self.histograms[at].record(latency);
        self.delay(class, config)
    }

    /// The delay before a hedge; `None` if a slow call alone is no reason.
    pub(super) fn delay(&self, class: u8, config: &HedgeConfig) -> Option<Duration> {
        let share = match config.after {
            After::Quantile(share) => share,
            After::Fixed(delay) => return Some(delay),
            After::OnFailure => return None,
        };
        let learnt = self.histogram(class).filter(|histogram| histogram.samples() >= ENOUGH);
        let delay = learnt.and_then(|histogram| histogram.estimate(share)).unwrap_or(config.start);
        Some(config.within_limits(delay))
    }

    /// The number of samples.
    pub(super) fn samples(&self, class: u8) -> u32 {
        self.histogram(class).map_or(0, LatencyHistogram::samples)
    }

    fn histogram(&self, class: u8) -> Option<&LatencyHistogram> {
        self.histograms.get(usize::from(class))
    }
}

/// Whether to measure the call that is the `number`th of its class to wait.
///
/// The choice comes before the time is known, so that slow and fast calls are measured alike. The numbers are scrambled,
/// so that the samples of calls with a rhythm are not all of one kind.
pub(super) const fn is_sample(number: u64) -> bool {
    number < FIRST || mix(number).is_multiple_of(SAMPLED)
}

/// The finalizer of `SplitMix64`.
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// With so many samples, the quantile is better than the start delay.
const ENOUGH: u32 = 20;
/// The first calls are all measured, enough for half of a full histogram, so that the delay is soon accurate.
const FIRST: u64 = 500;
/// Later one call in eight is measured; the others need not take the lock for it.
const SAMPLED: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_start_delay_holds_until_20_calls_are_measured() {
        let config = HedgeConfig::quantile(0.5).start(millis(300));
        let mut learning = Learning::default();
        assert_eq!(learning.delay(3, &config), Some(millis(300)));
        for _ in 1..20 {
            assert_eq!(learning.record(3, millis(10), &config), Some(millis(300)));
        }
        let learnt = learning.record(3, millis(10), &config).expect("a quantile always has a delay");
        assert!((millis(9)..=millis(11)).contains(&learnt), "{learnt:?}");
        assert_eq!((learning.samples(3), learning.samples(0)), (20, 0));
        assert_eq!(learning.delay(0, &config), Some(millis(300)), "each class has its own delay");
    }

    #[test]
    fn the_delay_stays_within_its_bounds() {
        let config = HedgeConfig::quantile(0.9).start(Duration::MAX);
        let mut learning = Learning::default();
        assert_eq!(learning.delay(0, &config), Some(millis(10_000)));
        (0..20).for_each(|_| _ = learning.record(0, Duration::ZERO, &config));
        assert_eq!(learning.delay(0, &config), Some(millis(1)));
        (0..1_000).for_each(|_| _ = learning.record(0, Duration::MAX, &config));
        assert_eq!(learning.delay(0, &config), Some(millis(10_000)));
    }

    #[test]
    fn the_other_modes_learn_nothing() {
        let learning = Learning::default();
        assert_eq!(learning.delay(0, &HedgeConfig::fixed(millis(7))), Some(millis(7)));
        assert_eq!(learning.delay(0, &HedgeConfig::on_failure()), None);
    }

    #[test]
    fn one_call_in_eight_is_measured_whatever_the_rhythm() {
        assert!((0..500).all(is_sample));
        for rhythm in [1, 2, 7, 8, 16, 100] {
            let measured = (1_000..81_000_u64).filter(|number| is_sample(number * rhythm)).count();
            assert!((9_500..10_500).contains(&measured), "{measured} with a rhythm of {rhythm}");
        }
    }
}
