//! A backend of many workers with random times, driven by hand: no task, no timer, and years of it in a second.
//!
//! It is run beside fixed limits and beside the rules that others have published.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{AdaptiveLimitConfig, Ended, Learner, Vote};
use crate::rt::clock::epoch;

#[test]
fn goodput_is_near_the_best_fixed_limit_and_admitted_calls_are_fast() {
    println!("load | limit | goodput/s | of the best fixed | p99 ms | last fifth: goodput/s, mean limit");
    for load in LOADS {
        // Hand-tuned for this load: the best of those whose calls are fast enough.
        let short = Load { seconds: load.seconds.min(100), ..*load };
        let fixed = [20, 30, 60, 100].map(|limit| (limit, run(&short, Limit::Fixed(limit))));
        let fast = fixed.iter().filter(|(_, seen)| seen.p99 <= load.slowest());
        let best = fast.max_by(|one, other| one.1.goodput.total_cmp(&other.1.goodput));
        let (limit, best) = best.expect("a limit of 20 is fast");
        best.print(load, &format!("fixed {limit}"), best);
        let ours = run(load, Limit::ours(20));
        ours.print(load, "adaptive", best);
        run(&short, Limit::aimd()).print(load, "tower-resilience AIMD", best);
        run(&short, Limit::vegas()).print(load, "tower-resilience Vegas", best);
        run(&short, Limit::Fixed(1_000_000)).print(load, "none", best);
        let least = if load.is_overload { 0.95 } else { 0.99 };
        assert!(ours.goodput >= least * best.goodput, "{}: {ours:?} beside {best:?}", load.name);
        assert!(ours.p99 <= load.slowest(), "{}: {ours:?}, at most {}", load.name, load.slowest());
        assert!(ours.late_goodput >= least * best.late_goodput, "{}: {ours:?}", load.name);
        if !load.is_overload {
            assert!(ours.goodput >= 0.99 * ours.demand, "{}: {ours:?}", load.name);
        }
    }
}

#[test]
fn a_limit_that_starts_far_too_high_or_low_is_found_within_seconds() {
    for first in [4, 100, 1_000] {
        let load = LOADS.iter().find(|load| load.name == "2x").expect("it is in the list");
        let seen = run(load, Limit::ours(first));
        println!("from {first}: {seen:?}");
        assert!(
            seen.goodput >= 0.95 * CAPACITY && (20.0..45.0).contains(&seen.late_limit),
            "{first}: {seen:?}"
        );
    }
}

#[test]
fn a_large_backend_whose_calls_are_sampled_is_used_and_protected() {
    let load = Load { name: "large, 2x", workers: 1_000, seconds: 20, rate: |_| 100_000.0, ..BASE };
    let config = AdaptiveLimitConfig::new().ceiling(10_000);
    let seen = run(&load, Limit::Ours(Box::new(Learner::new(&config, 500, false, SEED))));
    println!("{seen:?}");
    assert!(seen.late_goodput >= 0.95 * 50_000.0, "{seen:?}");
    assert!(seen.p99 <= load.slowest(), "{seen:?}");
}

/// A load on a backend.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    workers: u32,
    seconds: u32,
    is_overload: bool,
    /// Calls per second at a time in seconds.
    rate: fn(f64) -> f64,
    /// How much longer a call takes that begins at a time.
    slowness: fn(f64) -> f64,
}

const LOADS: [&Load; 6] = [
    &Load { name: "0.5x", is_overload: false, seconds: 60, rate: |_| 500.0, ..BASE },
    &Load { name: "1.1x, 30 min", seconds: 1_800, rate: |_| 1_100.0, ..BASE },
    &Load { name: "2x", rate: |_| 2_000.0, ..BASE },
    &Load { name: "bursts 5x", rate: |at| if at % 10.0 < 1.0 { 5_000.0 } else { 500.0 }, ..BASE },
    &Load { name: "3x slower, 0.8x", rate: |_| 800.0, slowness: slower, ..BASE },
    &Load { name: "3x slower, 2x", rate: |_| 2_000.0, slowness: slower, ..BASE },
];

const BASE: Load =
    Load { name: "", workers: 20, seconds: 100, is_overload: true, rate: |_| 0.0, slowness: |_| 1.0 };

/// The backend becomes three times slower.
fn slower(at: f64) -> f64 {
    if at < 40.0 { 1.0 } else { 3.0 }
}

impl Load {
    /// The bar for the 99th percentile, in seconds: 2.5 times that of a call alone.
    fn slowest(&self) -> f64 {
        2.5 * P99 * (self.slowness)(f64::from(self.seconds))
    }
}

/// A rule for the limit.
enum Limit {
    Fixed(u32),
    Ours(Box<Learner>),
    /// tower-resilience 0.13: one more after a call below 100 ms, half after a slower one, 1 to 100.
    Aimd(f64),
    /// tower-resilience 0.13: a step of one per call, by the smoothed time beside the shortest ever, 1 to 100.
    Vegas {
        limit: f64,
        shortest: f64,
        smoothed: f64,
    },
}

impl Limit {
    fn ours(first: u32) -> Self {
        Self::Ours(Box::new(Learner::new(&AdaptiveLimitConfig::new(), first, false, SEED)))
    }

    fn aimd() -> Self {
        Self::Aimd(10.0)
    }

    fn vegas() -> Self {
        Self::Vegas { limit: 10.0, shortest: f64::INFINITY, smoothed: 0.0 }
    }

    fn now(&self) -> f64 {
        match self {
            Self::Fixed(limit) => f64::from(*limit),
            Self::Ours(learner) => f64::from(learner.limit()),
            Self::Aimd(limit) | Self::Vegas { limit, .. } => *limit,
        }
    }

    fn record(&mut self, call: Call, number: usize, at: f64) {
        let took = at - call.began;
        match self {
            Self::Fixed(_) => {}
            Self::Ours(learner) => {
                if number.is_multiple_of(1 << learner.sampling()) {
                    let vote = Some(Vote::Answered);
                    let ended = Ended { began: instant(call.began), in_flight: call.in_flight, vote };
                    learner.record(ended, instant(at));
                }
            }
            Self::Aimd(limit) => {
                *limit = if took > 0.1 { (*limit / 2.0).floor().max(1.0) } else { (*limit + 1.0).min(100.0) };
            }
            Self::Vegas { limit, shortest, smoothed } => {
                *shortest = shortest.min(took);
                *smoothed = if *smoothed > 0.0 { f64::midpoint(*smoothed, took) } else { took };
                let queue = (*smoothed - *shortest) / *shortest * *limit;
                let step = if queue < 3.0 {
                    1.0
                } else if queue >= 7.0 {
                    -1.0
                } else {
                    0.0
                };
                *limit = (*limit + step).clamp(1.0, 100.0);
            }
        }
    }
}

/// A call, with times in seconds.
#[derive(Clone, Copy)]
struct Call {
    began: f64,
    in_flight: u32,
    takes: f64,
}

/// The result of a run. Rates are per second.
#[derive(Debug)]
struct Seen {
    demand: f64,
    /// Calls that succeeded within the objective.
    goodput: f64,
    p99: f64,
    /// The same in the last fifth of the run, and the mean limit there.
    late_goodput: f64,
    late_limit: f64,
}

/// Calls beyond the limit are rejected at once. The workers serve admitted calls in their order.
fn run(load: &Load, mut limit: Limit) -> Seen {
    let (mut rng, seconds) = (SmallRng::seed_from_u64(SEED), f64::from(load.seconds));
    let late = seconds * 0.8;
    // The ends of calls, by time and number.
    let mut ends: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut calls: Vec<Call> = Vec::new();
    let mut queue: VecDeque<usize> = VecDeque::new();
    let (mut busy, mut in_flight, mut arrival) = (0, 0, 0.0);
    let (mut demand, mut good, mut late_good, mut limits, mut late_arrivals) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let mut times: Vec<f64> = Vec::new();
    while arrival < seconds {
        let end = ends.peek().map(|Reverse((end, number))| (*end, *number));
        if let Some((end, number)) = end.filter(|(end, _)| *end <= nanos(arrival)) {
            ends.pop();
            let (at, call) = (Duration::from_nanos(end).as_secs_f64(), calls[number]);
            in_flight -= 1;
            times.push(at - call.began);
            if at - call.began <= OBJECTIVE {
                good += 1.0;
                late_good += f64::from(u8::from(at >= late));
            }
            limit.record(call, number, at);
            match queue.pop_front() {
                Some(next) => ends.push(Reverse((nanos(at + calls[next].takes), next))),
                None => busy -= 1,
            }
            continue;
        }
        demand += 1.0;
        if arrival >= late {
            (limits, late_arrivals) = (limits + limit.now(), late_arrivals + 1.0);
        }
        if f64::from(in_flight) < limit.now().floor() {
            in_flight += 1;
            // Log-normal times, as of many real backends, with a mean of 20 ms.
            let takes = MEAN * (SPREAD * normal(&mut rng) - SPREAD * SPREAD / 2.0).exp();
            let takes = takes * (load.slowness)(arrival);
            calls.push(Call { began: arrival, in_flight, takes });
            let number = calls.len() - 1;
            if busy < load.workers {
                busy += 1;
                ends.push(Reverse((nanos(arrival + takes), number)));
            } else {
                queue.push_back(number);
            }
        }
        arrival -= (1.0 - rng.random::<f64>()).ln() / (load.rate)(arrival);
    }
    times.sort_unstable_by(f64::total_cmp);
    Seen {
        demand: demand / seconds,
        goodput: good / seconds,
        p99: times[times.len() * 99 / 100],
        late_goodput: late_good / (seconds - late),
        late_limit: limits / late_arrivals,
    }
}

impl Seen {
    fn print(&self, load: &Load, name: &str, best: &Self) {
        let Self { goodput, p99, late_goodput, late_limit, .. } = self;
        let (of_best, millis) = (goodput / best.goodput, p99 * 1e3);
        println!(
            "{} | {name} | {goodput:.0} | {of_best:.3} | {millis:.0} | {late_goodput:.0}, {late_limit:.0}",
            load.name
        );
    }
}

/// A normal number, by Box and Muller.
fn normal(rng: &mut SmallRng) -> f64 {
    let angle = std::f64::consts::TAU * rng.random::<f64>();
    (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt() * angle.cos()
}

fn nanos(seconds: f64) -> u64 {
    u64::try_from(Duration::from_secs_f64(seconds).as_nanos()).expect("an hour fits")
}

fn instant(seconds: f64) -> Instant {
    epoch() + Duration::from_secs_f64(seconds)
}

const SEED: u64 = 1;
const MEAN: f64 = 0.02;
const SPREAD: f64 = 0.5;
/// The 99th percentile of the times alone.
const P99: f64 = 0.056;
/// A later answer is of no use to the caller.
const OBJECTIVE: f64 = 0.2;
/// Twenty workers of 20 ms.
const CAPACITY: f64 = 1_000.0;
