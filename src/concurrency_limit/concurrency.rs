//! Permits that change hands, under every interleaving that shuttle comes upon.
//!
//! Run with `RUSTFLAGS="--cfg shuttle" cargo test --lib concurrency`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use shuttle::{future, thread};

use super::{
    config::ConcurrencyLimitConfig,
    handle::{Acquired, ConcurrencyLimitHandle},
    permit::Permit,
};
use crate::{
    call::{Priority, Rejected},
    telemetry::Emitter,
    wait_queue::{Arrival, WaitQueueConfig},
};

/// Nothing in it depends on time.
const QUEUE: WaitQueueConfig =
    WaitQueueConfig::new().max_wait(Duration::from_secs(60 * 60)).without_shedding();

fn handle(limit: u32, queue: WaitQueueConfig) -> ConcurrencyLimitHandle {
    ConcurrencyLimitHandle::new(ConcurrencyLimitConfig::new(limit).queue(queue), Emitter::new("shuttle"))
}

fn acquire_or_wait(handle: &ConcurrencyLimitHandle, priority: Priority) -> Result<Acquired, Rejected> {
    match handle.shared.try_acquire() {
        Some(permit) => Ok(Acquired::Permit(permit)),
        None => handle.shared.acquire(Arrival { priority, cost: 1, deadline: None, key: None }),
    }
}

/// Waits until it has a permit.
fn acquire(handle: &ConcurrencyLimitHandle, priority: Priority) -> Result<Permit, Rejected> {
    match acquire_or_wait(handle, priority)? {
        Acquired::Permit(permit) => Ok(permit),
        Acquired::Waiting(mut waiter) => future::block_on(std::future::poll_fn(|cx| waiter.poll(cx))),
    }
}

fn explore(body: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random(body, EXECUTIONS);
}

fn assert_quiet(handle: &ConcurrencyLimitHandle) {
    let snapshot = handle.snapshot();
    let counts = snapshot.counts;
    let rejected =
        counts.rejected_full + counts.rejected_max_wait + counts.rejected_deadline + counts.rejected_shed;
    assert_eq!((snapshot.in_flight, snapshot.waiting), (0, 0));
    assert_eq!(counts.limited, counts.served + counts.cancelled + rejected);
    assert!(handle.shared.try_acquire().is_some(), "a permit is free, and no call is thought to wait");
}

#[test]
fn no_permit_is_lost_or_given_twice_and_every_waiting_call_is_woken() {
    explore(|| {
        let handle = handle(1, QUEUE);
        let inside = Arc::new(AtomicU32::new(0));
        let threads = [Priority::Low, Priority::Normal, Priority::Critical].map(|priority| {
            let (handle, inside) = (handle.clone(), Arc::clone(&inside));
            thread::spawn(move || {
                for _ in 0..2 {
                    let permit = acquire(&handle, priority).expect("the queue has room");
                    assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::Relaxed);
                    drop(permit);
                }
            })
        });
        threads.map(|thread| thread.join().expect("no thread panics"));
        assert_quiet(&handle);
    });
}

#[test]
fn case_07_a_call_that_is_dropped_while_it_is_served_hands_its_permit_on() {
    explore(|| {
        let handle = handle(1, QUEUE);
        let first = acquire(&handle, Priority::Normal).expect("it is free");
        let threads = [true, false, true].map(|cancels| {
            let handle = handle.clone();
            thread::spawn(move || {
                let acquired = acquire_or_wait(&handle, Priority::Normal).expect("the queue has room");
                if let (Acquired::Waiting(mut waiter), false) = (acquired, cancels) {
                    future::block_on(std::future::poll_fn(|cx| waiter.poll(cx))).expect("it is served");
                }
            })
        });
        drop(first);
        threads.map(|thread| thread.join().expect("no thread panics"));
        assert_quiet(&handle);
    });
}

#[test]
fn an_evicted_call_is_woken_and_a_full_queue_loses_no_permit() {
    explore(|| {
        let handle = handle(1, QUEUE.capacity(1));
        let threads = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical].map(|priority| {
            let handle = handle.clone();
            thread::spawn(move || acquire(&handle, priority).is_ok())
        });
        let passed = threads.map(|thread| thread.join().expect("no thread panics"));
        assert!(passed[3], "no call evicts a critical one");
        assert_quiet(&handle);
    });
}

#[test]
fn case_64_a_limit_that_changes_loses_no_permit_and_wakes_the_calls_that_fit() {
    explore(|| {
        let handle = handle(1, QUEUE);
        let threads = [(); 3].map(|()| {
            let handle = handle.clone();
            thread::spawn(move || drop(acquire(&handle, Priority::Normal)))
        });
        for (limit, shadow) in [(3, false), (1, true), (1, false)] {
            let config = ConcurrencyLimitConfig::new(limit).queue(QUEUE).shadow(shadow);
            handle.update(config).expect("valid");
        }
        threads.map(|thread| thread.join().expect("no thread panics"));
        assert_quiet(&handle);
    });
}

/// Each takes well under a millisecond.
const EXECUTIONS: usize = 5_000;
