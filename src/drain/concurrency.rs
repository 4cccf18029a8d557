//! A drain that races with calls, under every interleaving that shuttle comes upon.
//!
//! Run with `RUSTFLAGS="--cfg shuttle" cargo test --lib concurrency`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use shuttle::{future, thread};

use super::{config::DrainConfig, handle::DrainHandle};
use crate::telemetry::Emitter;

fn handle() -> DrainHandle {
    DrainHandle::new(DrainConfig::new(), Emitter::new("drain"))
}

fn explore(body: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random(body, EXECUTIONS);
}

#[test]
fn case_63_no_call_is_in_flight_or_admitted_after_the_end_of_the_drain() {
    explore(|| {
        let handle = handle();
        let ended = Arc::new(AtomicBool::new(false));
        let admitted = Arc::new(AtomicU64::new(0));
        let callers = [(); 3].map(|()| {
            let (handle, ended, admitted) = (handle.clone(), Arc::clone(&ended), Arc::clone(&admitted));
            thread::spawn(move || {
                for _ in 0..2 {
                    let entered = handle.shared.enter();
                    if let Ok(guard) = entered {
                        admitted.fetch_add(1, Ordering::Relaxed);
                        thread::yield_now();
                        assert!(!ended.load(Ordering::Relaxed), "the drain ended before this call");
                        drop(guard);
                    }
                }
            })
        });
        handle.begin();
        future::block_on(handle.shared.empty());
        ended.store(true, Ordering::Relaxed);
        assert!(handle.shared.enter().is_err());
        callers.map(|caller| caller.join().expect("no caller panics"));
        let snapshot = handle.snapshot();
        assert_eq!(snapshot.in_flight, 0);
        assert_eq!(admitted.load(Ordering::Relaxed) + snapshot.rejected, 7);
    });
}

#[test]
fn every_wait_is_woken_by_the_last_call() {
    explore(|| {
        let handle = handle();
        let guards = [(); 2].map(|()| handle.shared.enter().expect("no drain has begun"));
        let waits = [(); 2].map(|()| {
            let handle = handle.clone();
            thread::spawn(move || {
                handle.begin();
                future::block_on(handle.shared.empty());
            })
        });
        let calls = guards.map(|guard| thread::spawn(move || drop(guard)));
        calls.map(|call| call.join().expect("no call panics"));
        waits.map(|wait| wait.join().expect("no wait panics"));
        assert_eq!(handle.snapshot().in_flight, 0);
    });
}

/// Each takes well under a millisecond.
const EXECUTIONS: usize = 5_000;
