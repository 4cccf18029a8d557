//! All rows in turn, round after round, so that noise hits all alike. The fastest round counts.

use std::time::Duration;

use crate::{drive::Contender, threads::Crowd};

/// Nanoseconds per call of each contender.
pub fn fastest(contenders: &mut [Contender], rounds: u32, calls: u64) -> Vec<f64> {
    let mut best = vec![Duration::MAX; contenders.len()];
    for round in 0..rounds as usize {
        for step in 0..contenders.len() {
            // Another row begins each round, so that no row always follows the same one.
            let at = (round + step) % contenders.len();
            best[at] = best[at].min(contenders[at].time(calls));
        }
    }
    best.into_iter().map(|time| per_call(time, calls)).collect()
}

/// Nanoseconds per call of each service, with one thread and with two.
#[must_use]
pub fn fastest_shared(crowds: &[Crowd], rounds: u32, calls: u64) -> Vec<(f64, f64)> {
    let mut best = vec![(Duration::MAX, Duration::MAX); crowds.len()];
    for _ in 0..rounds {
        for (crowd, (one, two)) in crowds.iter().zip(&mut best) {
            *one = (*one).min(crowd.time(1, calls));
            *two = (*two).min(crowd.time(2, calls));
        }
    }
    best.into_iter().map(|(one, two)| (per_call(one, calls), per_call(two, 2 * calls))).collect()
}

/// Nanoseconds.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "far below 2⁵²")]
pub fn per_call(time: Duration, calls: u64) -> f64 {
    time.as_nanos() as f64 / calls as f64
}
