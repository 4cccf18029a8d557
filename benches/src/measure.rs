//! All rows in turn, round after round, so that noise hits all alike. The fastest round of a run counts.

use std::time::{Duration, Instant};

use crate::{allocations, backend::FAIL, breakers, row::Row};

/// A table of figures.
#[derive(Debug)]
pub struct Results {
    /// One per row.
    pub figures: Vec<Figures>,
}

/// The figures of one row.
#[derive(Debug)]
pub struct Figures {
    /// The row.
    pub name: &'static str,
    /// The row with its bare service.
    pub floor: &'static str,
    /// Bytes of its response future.
    pub future: usize,
    /// Nanoseconds per call, by run.
    pub one: Vec<f64>,
    /// The same while two threads make calls, if the service can be shared.
    pub two: Option<Vec<f64>>,
    /// Allocations per call, by run.
    pub allocations: Vec<f64>,
}

/// The results of several runs.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The lowest one.
    pub lowest: f64,
    /// The highest one.
    pub highest: f64,
}

/// Measures all rows, in as many rounds per run as fit into `time`.
#[must_use]
pub fn measure(rows: &mut [Row], runs: usize, time: Duration) -> Results {
    let mut figures: Vec<_> = rows.iter_mut().map(Figures::start).collect();
    for _ in 0..runs {
        for (row, figures) in rows.iter_mut().zip(&mut figures) {
            figures.allocations.push(rate(allocations::count(|| row.run(CALLS)), CALLS));
        }
        let mut best = vec![(Duration::MAX, Duration::MAX); rows.len()];
        let (end, mut round) = (Instant::now() + time, 0);
        while round == 0 || Instant::now() < end {
            for step in 0..rows.len() {
                // Another row begins each round, so that no row always follows the same one.
                let at = (round + step) % rows.len();
                let (one, two) = &mut best[at];
                *one = (*one).min(rows[at].time(CALLS));
                *two = (*two).min(rows[at].time_threads(2, CALLS).unwrap_or(Duration::MAX));
            }
            round += 1;
        }
        for (figures, (one, two)) in figures.iter_mut().zip(best) {
            figures.one.push(per_call(one, CALLS));
            if let Some(runs) = &mut figures.two {
                runs.push(per_call(two, 2 * CALLS));
            }
        }
    }
    Results { figures }
}

/// Nanoseconds per call of a window over time with ten calls and with a million, by run.
#[must_use]
pub fn measure_held(request: u64, runs: usize, time: Duration) -> [Vec<f64>; 2] {
    let mut services = HELD.map(breakers::holding);
    let mut nanos = [Vec::new(), Vec::new()];
    for _ in 0..runs {
        let mut best = [Duration::MAX; 2];
        let end = Instant::now() + time;
        while best[0] == Duration::MAX || Instant::now() < end {
            for ((service, held), best) in services.iter_mut().zip(HELD).zip(&mut best) {
                *best = (*best).min(breakers::time_holding(service, held, request, HELD_CALLS));
            }
        }
        for (nanos, best) in nanos.iter_mut().zip(best) {
            nanos.push(per_call(best, HELD_CALLS));
        }
    }
    nanos
}

/// The rows of the window over time, and the calls that they make.
pub const HELD_ROWS: [(&str, u64); 2] = [("ours, healthy", 0), ("ours, failing", FAIL)];

impl Results {
    /// The figures of a row, unless the row was left out.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Figures> {
        self.figures.iter().find(|figures| figures.name == name)
    }

    /// Nanoseconds that a row adds to its bare service.
    #[must_use]
    pub fn added(&self, figures: &Figures) -> Spread {
        Spread::of(&self.added_by_run(figures))
    }

    /// Allocations that a row adds to its bare service.
    #[must_use]
    pub fn added_allocations(&self, figures: &Figures) -> Spread {
        Spread::of(&difference(&figures.allocations, &self.floor(figures).allocations))
    }

    /// By how much more one row adds than another, within each run.
    #[must_use]
    pub fn ratio(&self, ours: &str, other: &str) -> Option<Spread> {
        let (ours, other) = (self.find(ours)?, self.find(other)?);
        Some(Spread::of_ratio(&self.added_by_run(ours), &self.added_by_run(other)))
    }

    fn added_by_run(&self, figures: &Figures) -> Vec<f64> {
        difference(&figures.one, &self.floor(figures).one)
    }

    fn floor(&self, figures: &Figures) -> &Figures {
        self.find(figures.floor).expect("a row is kept together with its floor")
    }
}

impl Figures {
    /// Warms a row up.
    fn start(row: &mut Row) -> Self {
        row.run(CALLS);
        let two = row.time_threads(2, CALLS).map(|_| Vec::new());
        let Row { name, floor, future, .. } = *row;
        Self { name, floor, future, one: Vec::new(), two, allocations: Vec::new() }
    }

    /// The throughput of two threads, by the one of one thread.
    #[must_use]
    pub fn scaling(&self) -> Option<Spread> {
        self.two.as_ref().map(|two| Spread::of_ratio(&self.one, two))
    }
}

impl Spread {
    /// Of these runs.
    ///
    /// # Panics
    ///
    /// Without a run.
    #[must_use]
    pub fn of(runs: &[f64]) -> Self {
        let mut runs = runs.to_vec();
        runs.sort_by(f64::total_cmp);
        Self { median: runs[runs.len() / 2], lowest: runs[0], highest: runs[runs.len() - 1] }
    }

    /// Of the ratios within the runs.
    #[must_use]
    pub fn of_ratio(part: &[f64], of: &[f64]) -> Self {
        Self::of(&part.iter().zip(of).map(|(part, of)| part / of).collect::<Vec<_>>())
    }
}

fn difference(all: &[f64], bare: &[f64]) -> Vec<f64> {
    all.iter().zip(bare).map(|(all, bare)| all - bare).collect()
}

#[allow(clippy::cast_precision_loss, reason = "far below 2⁵²")]
fn per_call(time: Duration, calls: u64) -> f64 {
    time.as_nanos() as f64 / calls as f64
}

#[allow(clippy::cast_precision_loss, reason = "far below 2⁵²")]
fn rate(part: u64, of: u64) -> f64 {
    part as f64 / of as f64
}

const CALLS: u64 = 10_000;
const HELD: [u64; 2] = [10, 1_000_000];
const HELD_CALLS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_taken_within_each_run() {
        // The machine was half as fast in the second run; the ratio of each run is 2 or 3.
        let Spread { median, lowest, highest } = Spread::of_ratio(&[20.0, 40.0, 30.0], &[10.0, 20.0, 10.0]);
        assert_eq!(format!("{median} ({lowest}–{highest})"), "2 (2–3)");
    }
}
