//! Whatever a call took is given back, and it is counted once, however it ends.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, poll};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{advance, timeout};
use tower::{Layer, Service, ServiceExt};
use tower_reliability::{
    CircuitState, ErrorClass, Event,
    circuit_breaker::{Abandoned, CircuitBreakerConfig, CircuitBreakerCounts, CircuitBreakerHandle},
};

use crate::scripted::{Act, Answer, Bench, ByPeer, backend};

const CONFIG: CircuitBreakerConfig = CircuitBreakerConfig::new()
    .min_requests(100)
    .consecutive_failures(1)
    .open_jitter(0.0)
    .half_open_probes(1)
    .half_open_successes(1);

/// One probe, and what is abandoned has no vote, so that its place alone is looked at.
const ONE_PROBE: CircuitBreakerConfig = CONFIG.abandoned(Abandoned::Ignore);

async fn assert_place_is_free(bench: &Bench) {
    assert_eq!(bench.handle.state(), CircuitState::HalfOpen);
    assert_eq!(bench.call(Act::GOOD).await, Ok(()), "the probe's place is free");
    assert_eq!(bench.handle.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn case_07_a_call_dropped_before_its_first_poll_is_not_counted_against_the_peer() {
    let mut bench = Bench::new(CONFIG);
    drop(bench.service.call(Act::GOOD));
    let counts = bench.handle.snapshot().counts;
    assert_eq!((counts.ignored, counts.abandoned, bench.handle.state()), (1, 0, CircuitState::Closed));
    bench.half_open().await;
    drop(bench.service.call(Act::GOOD));
    assert_place_is_free(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn case_07_a_waiter_dropped_while_it_waits_leaves_nothing_behind() {
    let bench = Bench::waiting(ONE_PROBE);
    bench.half_open_by_waiting().await;
    let mut holder = bench.service.clone();
    holder.ready().await.expect("ready");
    let mut waiter = bench.service.clone();
    assert!(waiter.ready().now_or_never().is_none());
    drop(waiter);
    drop(holder);
    assert_place_is_free(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn case_07_a_call_dropped_while_the_peer_works_counts_by_policy() {
    for (policy, state) in
        [(Abandoned::Failure, CircuitState::Open), (Abandoned::Ignore, CircuitState::Closed)]
    {
        let bench = Bench::new(CONFIG.abandoned(policy));
        assert!(timeout(Duration::from_secs(1), bench.call(Act::HANG)).await.is_err());
        let snapshot = bench.handle.snapshot();
        assert_eq!((snapshot.state, snapshot.counts.abandoned), (state, 1));
    }
    let bench = Bench::new(ONE_PROBE);
    bench.half_open().await;
    assert!(timeout(Duration::from_secs(1), bench.call(Act::HANG)).await.is_err());
    assert_place_is_free(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn case_07_a_call_dropped_after_its_end_is_counted_once() {
    let mut bench = Bench::new(CONFIG);
    bench.half_open().await;
    let mut call = Box::pin(bench.service.call(Act::GOOD));
    assert!(poll!(&mut call).is_ready());
    let before = bench.handle.snapshot();
    drop(call);
    assert_eq!(bench.handle.snapshot(), before);
    assert_eq!((before.state, before.counts.successes), (CircuitState::Closed, 1));
}

#[tokio::test(start_paused = true)]
async fn case_07_a_call_polled_after_its_end_is_counted_once() {
    let mut bench = Bench::new(CONFIG);
    let mut call = Box::pin(bench.service.call(Act::GOOD));
    assert!(poll!(&mut call).is_ready());
    let again = AssertUnwindSafe(async { poll!(&mut call) }).catch_unwind().await;
    assert!(again.is_err(), "the service below forbids it");
    drop(call);
    let counts = bench.handle.snapshot().counts;
    assert_eq!((counts.successes, counts.failures), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn case_08_a_panic_is_a_failure_and_nothing_stays_locked() {
    for panics in [Answer::PanicInCall, Answer::Panic, Answer::Unclassifiable] {
        let bench = Bench::new(CONFIG);
        bench.half_open().await;
        let failures = bench.handle.snapshot().counts.failures;
        assert!(AssertUnwindSafe(bench.call(Act::now(panics))).catch_unwind().await.is_err(), "{panics:?}");
        let snapshot = bench.handle.snapshot();
        assert_eq!(
            (snapshot.state, snapshot.counts.failures),
            (CircuitState::Open, failures + 1),
            "{panics:?}"
        );
        advance(snapshot.retry_after.expect("it is open")).await;
        assert_place_is_free(&bench).await;
    }
}

#[tokio::test(start_paused = true)]
async fn case_08_a_listener_that_panics_harms_no_call() {
    let layer = CONFIG.build().expect("valid").classify(ByPeer).listen(|_: &Event| panic!("as it likes"));
    let (backend, handle) = (backend(), layer.handle());
    // Told in the middle of another panic, it must not end the process.
    let call = layer.layer(backend.clone()).oneshot(Act::now(Answer::Panic));
    assert!(AssertUnwindSafe(call).catch_unwind().await.is_err());
    assert_eq!(handle.state(), CircuitState::Open);
    assert!(catch_unwind(AssertUnwindSafe(|| handle.reset())).is_ok());
    assert_eq!(layer.layer(backend).oneshot(Act::GOOD).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_listener_may_ask_the_handle() {
    let seen = Arc::new(Mutex::new((None::<CircuitBreakerHandle>, Vec::new())));
    let inside = Arc::clone(&seen);
    let layer = CONFIG.build().expect("valid").classify(ByPeer).listen(move |_: &Event| {
        let mut seen = inside.lock().expect("no thread panics with it");
        let state = seen.0.as_ref().map(CircuitBreakerHandle::state);
        seen.1.push(state);
    });
    seen.lock().expect("no thread panics with it").0 = Some(layer.handle());
    let _ = layer.layer(backend()).oneshot(Act::BAD).await;
    let mut seen = seen.lock().expect("no thread panics with it");
    assert_eq!(seen.1, [Some(CircuitState::Open)]);
    seen.0 = None;
}

#[tokio::test(start_paused = true)]
async fn case_22_a_backend_that_only_times_its_callers_out_trips_it_and_routine_cancels_do_not() {
    for (policy, trips) in [(Abandoned::Failure, true), (Abandoned::Ignore, false)] {
        let bench = Bench::new(CircuitBreakerConfig::new().abandoned(policy));
        for _ in 0..50 {
            let _ = timeout(Duration::from_millis(10), bench.call(Act::HANG)).await;
        }
        assert_eq!(bench.handle.state() == CircuitState::Open, trips);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_of_a_breaker_that_is_gone_is_not_counted_for_the_next() {
    let former = Bench::new(CONFIG);
    let calls: Vec<_> = (0..10).map(|_| former.service.clone().call(Act::BAD)).collect();
    drop(former);
    // One of these has got the circuit of before.
    let benches: Vec<Bench> = (0..20).map(|_| Bench::new(CONFIG)).collect();
    for call in calls {
        let _ = call.await;
    }
    for bench in benches {
        assert_eq!(
            (bench.handle.snapshot().counts, bench.handle.state()),
            (CircuitBreakerCounts::default(), CircuitState::Closed)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn case_61_of_a_hundred_thousand_calls_none_is_lost_and_none_counted_twice() {
    let mut rng = StdRng::seed_from_u64(SEED);
    // Opens often, and not for long.
    let config = CircuitBreakerConfig::new()
        .consecutive_failures(4)
        .open_for(Duration::from_millis(20))
        .open_multiplier(1.0)
        .half_open_successes(1)
        .probe_timeout(Duration::from_millis(50));
    let mut bench = Bench::new(config.ramp(Duration::from_millis(20)));
    let (mut started, mut dropped_unpolled, mut out) = (0_u64, 0_u64, Vec::new());
    while started < 100_000 {
        started += 1;
        let answer = match rng.random_range(0..100) {
            60..80 => Answer::Fail(ErrorClass::ALL[rng.random_range(0..7)]),
            80..85 => Answer::Unrelated,
            85..90 => Answer::Hang,
            90..93 => Answer::Panic,
            93..95 => Answer::Unclassifiable,
            _ => Answer::Good,
        };
        let after = Duration::from_millis(rng.random_range(0..3) * rng.random_range(0..5));
        let mut call =
            Box::pin(AssertUnwindSafe(bench.service.call(Act::now(answer).after(after))).catch_unwind());
        if rng.random_bool(0.05) {
            dropped_unpolled += 1;
            drop(call);
        } else if poll!(&mut call).is_pending() {
            out.push(call);
        }
        if rng.random_bool(0.1) {
            advance(Duration::from_millis(5)).await;
        }
        if out.len() > 50 {
            let mut call = out.swap_remove(rng.random_range(0..out.len()));
            let _ = poll!(&mut call);
        }
    }
    drop(out);
    let counts = bench.handle.snapshot().counts;
    let ended = counts.successes + counts.failures + counts.ignored + counts.abandoned + counts.rejected;
    assert_eq!(ended, started, "seed {SEED}: {counts:?}");
    let everything_happened =
        [counts.ignored, counts.abandoned, counts.late, counts.trips].iter().all(|n| *n > 100);
    assert!(everything_happened && dropped_unpolled > 1_000, "seed {SEED}: {counts:?}");
}

const SEED: u64 = 61;
