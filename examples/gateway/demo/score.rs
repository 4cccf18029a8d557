//! The results as the clients saw them.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::plan::{Kind, Side, Timeline};

/// One finished request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// When it finished.
    pub(crate) at: Duration,
    pub(crate) took: Duration,
    pub(crate) good: bool,
}

/// All samples, by side and upstream.
pub(crate) struct Scores {
    timeline: Timeline,
    samples: [[Mutex<Vec<Sample>>; 3]; 2],
}

/// A summary of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Summary {
    pub(crate) requests: u32,
    pub(crate) good: u32,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// The total time that clients waited for requests that failed.
    pub(crate) waited: Duration,
}

impl Scores {
    pub(crate) fn new(timeline: Timeline) -> Self {
        Self { timeline, samples: Default::default() }
    }

    pub(crate) fn record(&self, side: Side, kind: Kind, sample: Sample) {
        self.with(side, kind, |samples| samples.push(sample));
    }

    /// All samples so far.
    pub(crate) fn total(&self, side: Side, kind: Kind) -> Summary {
        self.with(side, kind, |samples| Summary::of(samples))
    }

    /// The samples of the last second.
    pub(crate) fn recent(&self, side: Side, kind: Kind) -> Summary {
        let since = self.timeline.elapsed().saturating_sub(Duration::from_secs(1));
        self.with(side, kind, |samples| {
            let old = samples.partition_point(|sample| sample.at < since);
            Summary::of(&samples[old..])
        })
    }

    fn with<R>(&self, side: Side, kind: Kind, f: impl FnOnce(&mut Vec<Sample>) -> R) -> R {
        let cell = &self.samples[side as usize][kind as usize];
        f(&mut cell.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Summary {
    fn of(samples: &[Sample]) -> Self {
        let count = |wanted: fn(&Sample) -> bool| {
            u32::try_from(samples.iter().filter(|sample| wanted(sample)).count()).unwrap_or(u32::MAX)
        };
        let mut times: Vec<Duration> = samples.iter().map(|sample| sample.took).collect();
        times.sort_unstable();
        let failed = samples.iter().filter(|sample| !sample.good);
        Self {
            requests: count(|_| true),
            good: count(|sample| sample.good),
            waited: failed.map(|sample| sample.took).sum(),
            p50: percentile(&times, 50),
            p99: percentile(&times, 99),
        }
    }

    /// The rate of good answers in percent. `None` without samples.
    pub(crate) fn success(&self) -> Option<f64> {
        (self.requests > 0).then(|| 100.0 * f64::from(self.good) / f64::from(self.requests))
    }
}

/// The time that so many percent of all requests did not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}
