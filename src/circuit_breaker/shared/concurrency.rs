//! The lock-free path under every interleaving that shuttle comes upon.
//!
//! Run with `RUSTFLAGS="--cfg shuttle" cargo test --lib concurrency`.

use std::{
    sync::{Arc, Mutex as StdMutex},
    time::Duration,
};

use shuttle::thread;

use super::{CallGuard, Circuit};
use crate::{
    call::{ErrorClass, NoDeadline, Outcome, Reason},
    circuit_breaker::{
        config::{CircuitBreakerConfig, Window},
        handle::{CircuitBreakerHandle, CircuitSpec},
        state::Refusal,
    },
    telemetry::{CircuitState, CircuitTransition, Emitter, Event, EventKind, Trip},
};

/// Opens at four failures of at least four calls; nothing in it depends on time.
const CONFIG: CircuitBreakerConfig =
    CircuitBreakerConfig::new().window(Window::Calls(100)).min_requests(4).failure_rate(1.0);
const FAILURE: Outcome = Outcome::failure(ErrorClass::Server);

type Told = Arc<StdMutex<Vec<CircuitTransition>>>;

fn circuit(config: CircuitBreakerConfig) -> (CircuitBreakerHandle, Told) {
    let told = Told::default();
    let emitter = Emitter::new("shuttle");
    let tell = Arc::clone(&told);
    emitter.add(move |event: &Event| {
        if let EventKind::CircuitChanged(change) = event.kind {
            tell.lock().expect("no listener panics").push(change);
        }
    });
    let spec = CircuitSpec { config, patience: Duration::from_secs(1), emitter };
    (spec.new_circuit(spec.config, spec.emitter.clone()), told)
}

fn admit(handle: &CircuitBreakerHandle) -> Result<CallGuard, Refusal> {
    let permit = handle.circuit.admit()?;
    Ok(CallGuard::call(Arc::clone(&handle.circuit), permit, &NoDeadline, (), |()| ()).1)
}

fn call(handle: &CircuitBreakerHandle, outcome: Outcome) {
    match admit(handle) {
        Ok(mut guard) => guard.finish(outcome),
        Err(refusal) => drop(handle.circuit.reject(refusal)),
    }
}

fn spawn(handle: &CircuitBreakerHandle, outcomes: &'static [Outcome]) -> thread::JoinHandle<()> {
    let handle = handle.clone();
    thread::spawn(move || outcomes.iter().for_each(|outcome| call(&handle, *outcome)))
}

fn explore(body: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random(body, EXECUTIONS);
}

/// One event per transition, and no generation left out.
fn assert_consecutive(told: &Told, first: u32, last: u32) {
    let mut generations: Vec<u32> =
        told.lock().expect("no listener panics").iter().map(|c| c.generation).collect();
    generations.sort_unstable();
    assert_eq!(generations, (first + 1..=last).collect::<Vec<_>>());
}

#[test]
fn nothing_is_lost_and_everything_is_counted_once() {
    explore(|| {
        let (handle, _) = circuit(CONFIG.failure_rate(0.9));
        let threads = [
            spawn(&handle, &[Outcome::Success, FAILURE, Outcome::Success]),
            spawn(&handle, &[Outcome::Success, Outcome::Success, FAILURE]),
            spawn(&handle, &[Outcome::Ignored, Outcome::Success]),
        ];
        // A reader collects the stripes in between.
        handle.snapshot();
        threads.map(|thread| thread.join().expect("no thread panics"));
        let snapshot = handle.snapshot();
        let counts = snapshot.counts;
        assert_eq!((counts.successes, counts.failures, counts.ignored, counts.rejected), (5, 2, 1, 0));
        assert_eq!((snapshot.window_calls, snapshot.window_failures, counts.late), (7, 2, 0));
    });
}

#[test]
fn case_17_no_result_of_an_old_generation_is_counted_in_a_new_window() {
    explore(|| {
        let (handle, told) = circuit(CONFIG);
        let first = handle.snapshot().generation;
        let threads = [
            spawn(&handle, &[Outcome::Success, FAILURE, Outcome::Success]),
            spawn(&handle, &[FAILURE, Outcome::Success, FAILURE]),
        ];
        handle.reset();
        let at_reset = handle.snapshot();
        handle.reset();
        threads.map(|thread| thread.join().expect("no thread panics"));
        let snapshot = handle.snapshot();
        let counts = snapshot.counts;
        assert_eq!((counts.successes, counts.failures), (3, 3));
        // A call that is neither in the window nor late was in a window that a reset threw away.
        let before = at_reset.counts.successes + at_reset.counts.failures;
        assert!(u64::from(snapshot.window_calls) + counts.late <= 6);
        assert!(u64::from(snapshot.window_calls) <= 6 - before);
        assert_eq!(snapshot.generation, first + 2);
        assert_consecutive(&told, first, snapshot.generation);
    });
}

#[test]
fn a_call_admitted_before_a_reset_is_late_after_it() {
    explore(|| {
        let (handle, _) = circuit(CONFIG);
        let mut guard = admit(&handle).expect("it is closed");
        let other = handle.clone();
        let resetting = thread::spawn(move || other.reset());
        guard.finish(Outcome::Success);
        resetting.join().expect("no thread panics");
        let snapshot = handle.snapshot();
        assert_eq!((snapshot.counts.successes, snapshot.window_calls), (1, 0));
    });
}

#[test]
fn case_27_force_open_races_with_calls() {
    explore(|| {
        let (handle, told) = circuit(CONFIG);
        let first = handle.snapshot().generation;
        let threads = [
            spawn(&handle, &[FAILURE, FAILURE, Outcome::Success]),
            spawn(&handle, &[FAILURE, FAILURE, FAILURE]),
        ];
        handle.force_open();
        // No call passes from here on.
        assert!(admit(&handle).is_err());
        threads.map(|thread| thread.join().expect("no thread panics"));
        let snapshot = handle.snapshot();
        let counts = snapshot.counts;
        assert_eq!(counts.successes + counts.failures + counts.rejected, 6);
        assert_eq!((snapshot.state, counts.abandoned, counts.ignored), (CircuitState::ForcedOpen, 0, 0));
        assert!(counts.trips <= 1);
        assert_consecutive(&told, first, snapshot.generation);
    });
}

#[test]
fn a_circuit_trips_once_however_many_failures_race() {
    explore(|| {
        let (handle, told) = circuit(CircuitBreakerConfig::consecutive(2));
        let threads = [spawn(&handle, &[FAILURE, FAILURE]), spawn(&handle, &[FAILURE, FAILURE])];
        threads.map(|thread| thread.join().expect("no thread panics"));
        let counts = handle.snapshot().counts;
        assert_eq!((counts.trips, told.lock().expect("no listener panics").len()), (1, 1));
        assert_eq!(counts.failures + counts.rejected, 4);
    });
}

#[test]
fn a_rejection_never_mixes_the_reason_of_one_opening_with_the_time_of_another() {
    explore(|| {
        let (handle, _) = circuit(CircuitBreakerConfig::consecutive(1));
        let reader = {
            let circuit: Arc<Circuit> = Arc::clone(&handle.circuit);
            thread::spawn(move || {
                for _ in 0..3 {
                    // An opening by hand has no end, and every other opening has one.
                    if let Some(refusal) = circuit.peek() {
                        let by_hand = refusal.reason == Reason::CircuitOpen(Trip::ByHand);
                        assert_eq!(by_hand, refusal.retry_at.is_none(), "{refusal:?}");
                    }
                }
            })
        };
        call(&handle, FAILURE);
        handle.force_open();
        handle.reset();
        call(&handle, FAILURE);
        reader.join().expect("no thread panics");
    });
}

/// Each takes well under a millisecond.
const EXECUTIONS: usize = 5_000;
