//! The distribution of an injected latency.

use std::{f64::consts::TAU, time::Duration};

use crate::{
    algo::{between, scale},
    call::ConfigError,
};

/// How long a call waits longer than it would by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Latency {
    /// No longer.
    #[default]
    None,
    /// A fixed time for every call.
    Fixed(#[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))] Duration),
    /// Any time between two, with equal probability. `min` is at most `max`.
    Uniform {
        /// The shortest time.
        #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
        min: Duration,
        /// The longest time.
        #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
        max: Duration,
    },
    /// A log-normal distribution, as most networks and servers have: many calls near the median, and a few far above.
    /// `median` is above 0, and `p99` is at least `median`.
    LongTail {
        /// Half of the calls take less.
        #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
        median: Duration,
        /// One call in a hundred takes more.
        #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
        p99: Duration,
    },
}

impl Latency {
    /// The latency of a call, from two random numbers of `0 ‥ 1`.
    pub(super) fn sample(self, [first, second]: [f64; 2]) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::Fixed(time) => time,
            Self::Uniform { min, max } => between(min, max, first),
            Self::LongTail { median, p99 } => {
                // Box and Muller: two uniform numbers make a normal one. `1 - first` is never 0.
                let normal = (-2.0 * (1.0 - first).ln()).sqrt() * (TAU * second).cos();
                let spread = (p99.as_secs_f64() / median.as_secs_f64()).ln() / NORMAL_P99;
                scale(median, (spread * normal).exp())
            }
        }
    }

    pub(super) fn check(self) -> Result<(), ConfigError> {
        let (holds, rule) = match self {
            Self::None | Self::Fixed(_) => (true, ""),
            Self::Uniform { min, max } => (min <= max, "must have a min of at most its max"),
            Self::LongTail { median, p99 } => {
                (!median.is_zero() && median <= p99, "must have a median above 0 and of at most its p99")
            }
        };
        ConfigError::check(holds, "latency", rule)
    }
}

/// The normal distribution has 99 % of its mass below this many standard deviations above the mean.
const NORMAL_P99: f64 = 2.326_347_874;

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    fn sorted_samples(latency: Latency) -> Vec<Duration> {
        let mut rng = StdRng::seed_from_u64(1);
        let mut samples: Vec<Duration> =
            (0..20_000).map(|_| latency.sample([rng.random(), rng.random()])).collect();
        samples.sort();
        samples
    }

    #[test]
    fn a_long_tail_has_its_median_and_its_p99() {
        let (median, p99) = (Duration::from_millis(20), Duration::from_millis(500));
        let samples = sorted_samples(Latency::LongTail { median, p99 });
        let near = |at: usize, expected: Duration| {
            let ratio = samples[at].as_secs_f64() / expected.as_secs_f64();
            assert!((0.85..1.15).contains(&ratio), "{:?} at {at}, not {expected:?}", samples[at]);
        };
        near(10_000, median);
        near(19_800, p99);
    }

    #[test]
    fn a_uniform_latency_stays_between_its_ends() {
        let (min, max) = (Duration::from_millis(10), Duration::from_millis(30));
        let samples = sorted_samples(Latency::Uniform { min, max });
        let near = Duration::from_millis(1);
        assert!(samples[0] >= min && samples[0] < min + near);
        assert!(samples[19_999] <= max && samples[19_999] + near > max);
    }

    #[test]
    fn the_ends_of_the_random_numbers_are_latencies_too() {
        let tail = Latency::LongTail { median: Duration::from_nanos(1), p99: Duration::MAX };
        for units in [[0.0, 0.0], [1.0 - f64::EPSILON, 0.0], [1.0 - f64::EPSILON, 0.5]] {
            let _ = tail.sample(units);
        }
    }
}
