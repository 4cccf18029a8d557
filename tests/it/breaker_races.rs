//! Several threads at one circuit.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use futures::executor::block_on;
use tower::{Service, ServiceExt};
use tower_reliability::{
    CircuitTransition,
    circuit_breaker::{CircuitBreakerConfig, CircuitBreakerHandle, CircuitState, Window},
};

use crate::scripted::{Act, Bench};

const ROUNDS: usize = 2_000;
const CALLERS: usize = 3;

type Handle = CircuitBreakerHandle;

#[test]
fn case_27_overrides_that_race_with_calls_lose_no_transition() {
    // Failing calls trip it in between, so that the machine's own transitions race too.
    let bench = Bench::new(CircuitBreakerConfig::consecutive(5));
    let first = bench.handle.snapshot();
    let done = AtomicBool::new(false);
    let started: usize = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let mut service = bench.service.clone();
                let done = &done;
                scope.spawn(move || {
                    let mut started = 0;
                    while !done.load(Ordering::SeqCst) {
                        let act = if started % 7 == 0 { Act::GOOD } else { Act::BAD };
                        let _ =
                            block_on(async { service.ready().await.expect("always ready").call(act).await });
                        started += 1;
                    }
                    started
                })
            })
            .collect();
        let overrides = [Handle::force_open, Handle::reset, Handle::force_close, Handle::reset];
        for nth in 0..ROUNDS {
            overrides[nth % overrides.len()](&bench.handle);
            thread::yield_now();
        }
        done.store(true, Ordering::SeqCst);
        callers.into_iter().map(|caller| caller.join().expect("no thread panics")).sum()
    });

    let last = bench.handle.snapshot();
    let mut told: Vec<CircuitTransition> = bench.diary.transitions();
    told.sort_by_key(|change| change.generation);
    let generations: Vec<u32> = told.iter().map(|change| change.generation).collect();
    assert_eq!(generations, (first.generation + 1..=last.generation).collect::<Vec<_>>());
    assert!(generations.len() >= ROUNDS);
    // Each begins where the one before it ended: exactly one state at a time.
    assert!(told.windows(2).all(|pair| pair[0].to == pair[1].from));
    assert_eq!((told[0].from, told[told.len() - 1].to), (CircuitState::Closed, last.state));
    let opened = told.iter().filter(|change| change.to == CircuitState::Open).count();
    assert_eq!(last.counts.trips, opened as u64);
    let ended = last.counts.successes + last.counts.failures + last.counts.rejected;
    assert_eq!(ended, started as u64);
    assert_eq!(bench.backend.calls() as u64, last.counts.successes + last.counts.failures);
}

#[test]
fn healthy_calls_of_many_threads_are_all_counted() {
    healthy_calls_are_all_counted(Window::Calls(100));
    // Buckets of 10 ms: the fast path closes many times in the course of the test.
    healthy_calls_are_all_counted(Window::Time(Duration::from_millis(100)));
}

fn healthy_calls_are_all_counted(window: Window) {
    let bench = Bench::new(CircuitBreakerConfig::new().window(window));
    thread::scope(|scope| {
        for _ in 0..4 {
            let mut service = bench.service.clone();
            scope.spawn(move || {
                for nth in 0..5_000 {
                    let act = if nth % 100 == 0 { Act::BAD } else { Act::GOOD };
                    let _ = block_on(service.call(act));
                }
            });
        }
        // Whoever looks collects; nothing may fall in between.
        for _ in 0..500 {
            let _ = bench.handle.snapshot();
        }
    });
    let counts = bench.handle.snapshot().counts;
    assert_eq!((counts.successes, counts.failures, counts.late), (4 * 4_950, 4 * 50, 0));
}
