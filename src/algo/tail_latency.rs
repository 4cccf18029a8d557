//! A running estimate of the 99th percentile of latencies, in two words.

use std::time::Duration;

/// Estimates the 99th percentile without keeping samples.
///
/// A sample above the estimate raises it by a step of itself, a sample below lowers it by a 99th of that step: it rests
/// where one sample in a hundred lies above. This is stochastic approximation of a quantile (Robbins and Monro 1951), on
/// a logarithmic scale. The step is larger at first, so that the first sample does not matter for long.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TailLatency {
    seconds: f64,
    samples: u32,
}

impl TailLatency {
    pub(crate) fn record(&mut self, latency: Duration) {
        let latency = latency.as_secs_f64();
        let step = if self.samples < ENOUGH { FIRST_STEP } else { STEP };
        if self.samples == 0 {
            // Above 0, because the steps are multiples of it.
            self.seconds = latency.max(1e-6);
        } else if latency > self.seconds {
            self.seconds = (self.seconds * (1.0 + step * QUANTILE)).min(latency);
        } else {
            self.seconds *= 1.0 - step * (1.0 - QUANTILE);
        }
        self.samples = self.samples.saturating_add(1);
    }

    /// The estimate; `None` below a hundred samples, of which the 99th percentile would be a single one.
    pub(crate) fn estimate(&self) -> Option<Duration> {
        (self.samples >= ENOUGH).then(|| Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::MAX))
    }
}

const QUANTILE: f64 = 0.99;
const ENOUGH: u32 = 100;
const FIRST_STEP: f64 = 0.5;
const STEP: f64 = 0.1;

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    /// Latencies with a median of 19 ms and a 99th percentile of 54 ms, as in the simulation of cut calls.
    fn lognormal(rng: &mut StdRng) -> Duration {
        let normal = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        Duration::from_secs_f64(0.019 * (0.45 * normal).exp())
    }

    #[test]
    fn it_comes_near_the_99th_percentile_and_follows_it() {
        for seed in 0..20 {
            let (mut rng, mut tail) = (StdRng::seed_from_u64(seed), TailLatency::default());
            (0..99).for_each(|_| tail.record(lognormal(&mut rng)));
            assert_eq!(tail.estimate(), None);
            tail.record(lognormal(&mut rng));
            let assert_near = |tail: &TailLatency, from: u128, to: u128| {
                let millis = tail.estimate().expect("enough samples").as_millis();
                assert!((from..to).contains(&millis), "{millis} ms, seed {seed}");
            };
            assert_near(&tail, 28, 110);
            (0..5_000).for_each(|_| tail.record(lognormal(&mut rng)));
            assert_near(&tail, 42, 75);
            (0..10_000).for_each(|_| tail.record(lognormal(&mut rng) / 10));
            assert_near(&tail, 4, 8);
        }
    }

    #[test]
    fn one_outlier_at_the_start_is_soon_forgotten() {
        let mut tail = TailLatency::default();
        tail.record(Duration::from_millis(20));
        tail.record(Duration::from_secs(60));
        (0..98).for_each(|_| tail.record(Duration::from_millis(20)));
        assert!(tail.estimate().expect("enough samples") < Duration::from_millis(31));
    }
}
