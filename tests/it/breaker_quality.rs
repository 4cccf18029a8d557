//! How fast it opens, how rarely for nothing, and how little reaches a dead backend.

use std::{iter::repeat_n, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::advance;
use tower::Service;
use tower_reliability::circuit_breaker::{CircuitBreakerConfig, CircuitState, Window};

use crate::scripted::{Act, Bench};

/// Threshold 50 %, over 100 calls. The rest is the default.
const CONFIG: CircuitBreakerConfig = CircuitBreakerConfig::new().failure_rate(0.5).window(Window::Calls(100));
const BACKGROUND: f64 = 0.1;
const SEEDS: std::ops::Range<u64> = 0..20;

/// Whether it was made to fail.
async fn call(bench: &mut Bench, rng: &mut StdRng, errors: f64) -> bool {
    let fails = rng.random_bool(errors);
    let _ = bench.service.call(if fails { Act::BAD } else { Act::GOOD }).await;
    fails
}

/// How many calls, and failing calls, at that share of errors it takes to open, after `history` calls with
/// background errors.
async fn calls_to_open(history: usize, errors: f64, seed: u64) -> (usize, usize) {
    let (mut bench, mut rng) = (Bench::new(CONFIG), StdRng::seed_from_u64(seed));
    for _ in 0..history {
        call(&mut bench, &mut rng, BACKGROUND).await;
    }
    assert_eq!(bench.handle.state(), CircuitState::Closed, "seed {seed}");
    let (mut calls, mut failing) = (0, 0);
    while bench.handle.state() == CircuitState::Closed {
        failing += usize::from(call(&mut bench, &mut rng, errors).await);
        calls += 1;
    }
    (calls, failing)
}

#[tokio::test(start_paused = true)]
async fn it_opens_as_fast_after_a_long_healthy_life_as_after_a_short_one() {
    println!("errors | history | calls to open: mean | failing calls to open: mean, worst of {}", SEEDS.end);
    for (errors, bound) in [(1.0, 48), (0.6, 85)] {
        for history in [0, 100, 1_000, 100_000] {
            let seeds = if history == 100_000 { 0..4 } else { SEEDS };
            let mut counts = Vec::new();
            for seed in seeds {
                counts.push(calls_to_open(history, errors, seed).await);
            }
            let mean = |of: fn(&(usize, usize)) -> usize| counts.iter().map(of).sum::<usize>() / counts.len();
            let worst = counts.iter().map(|count| count.1).max().expect("there are seeds");
            let percent = errors * 100.0;
            println!(
                "{percent:>4} % | {history:>7} | {:>4} | {:>4}, {worst:>4}",
                mean(|c| c.0),
                mean(|c| c.1)
            );
            assert!(worst <= bound, "{worst} failing calls at {percent} % after {history}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_never_opens_at_background_errors() {
    let (mut bench, mut rng) = (Bench::new(CONFIG), StdRng::seed_from_u64(1));
    for _ in 0..1_000_000 {
        call(&mut bench, &mut rng, BACKGROUND).await;
    }
    let counts = bench.handle.snapshot().counts;
    println!("false openings in 1 000 000 calls at 10 % errors: {} (seed 1)", counts.trips);
    assert_eq!((counts.trips, counts.successes + counts.failures), (0, 1_000_000));
}

/// How many calls reach a backend that is dead for 5 s, at a call every millisecond, after `before` good ones.
async fn reached_while_dead(config: CircuitBreakerConfig, before: usize) -> usize {
    let mut bench = Bench::new(config);
    for act in repeat_n(Act::GOOD, before).chain(repeat_n(Act::BAD, 5_000)) {
        let _ = bench.service.call(act).await;
        advance(Duration::from_millis(1)).await;
    }
    bench.backend.calls() - before
}

#[tokio::test(start_paused = true)]
async fn little_reaches_a_dead_backend() {
    println!("calls that reach a backend dead for 5 s at 1 kHz | window | good calls before");
    for before in [0, 100, 1_000, 20_000] {
        for (name, config) in [("100 calls", CONFIG), ("default", CircuitBreakerConfig::new())] {
            let reached = reached_while_dead(config, before).await;
            println!("{reached:>48} | {name} | {before}");
            assert!(reached <= 60, "{reached} after {before}");
        }
    }
    // Over time, what went well in the window speaks for the backend: as long as half of the window has not failed,
    // calls reach it. That is why it is not the default.
    let over_time = CircuitBreakerConfig::new().window(Window::Time(Duration::from_secs(10)));
    for (before, bound) in [(0, 60), (100, 160), (20_000, 5_000)] {
        let reached = reached_while_dead(over_time, before).await;
        println!("{reached:>48} | 10 s | {before}");
        assert!(reached <= bound, "{reached} after {before}");
    }
}
