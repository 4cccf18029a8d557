//! Tokens that change hands, under every interleaving that shuttle comes upon.
//!
//! Run with `RUSTFLAGS="--cfg shuttle" cargo test --lib concurrency`. Nothing here waits for time: a token takes an hour,
//! and calls get the tokens that other calls return.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
    time::Duration,
};

use shuttle::{future, thread};

use super::{
    config::RateLimitConfig,
    handle::{Entered, RateLimitHandle, Tokens},
    waiter::{Progress, Waiter},
};
use crate::{
    call::{Priority, Rejected},
    rt::clock,
    telemetry::Emitter,
    wait_queue::{Arrival, WaitQueueConfig},
};

const HOUR: Duration = Duration::from_secs(60 * 60);
const QUEUE: WaitQueueConfig =
    WaitQueueConfig::new().max_wait(Duration::from_secs(24 * 60 * 60)).without_shedding();

fn config(burst: u32) -> RateLimitConfig {
    RateLimitConfig::per(1, HOUR).burst(burst).queue(QUEUE)
}

fn handle(config: RateLimitConfig) -> RateLimitHandle {
    RateLimitHandle::new(config, Emitter::new("shuttle"))
}

fn enter(handle: &RateLimitHandle, priority: Priority) -> Result<Entered, Rejected> {
    if handle.shared.try_take(1) {
        return Ok(Entered::Passed(handle.shared.tokens(1)));
    }
    handle.shared.enter(Arrival { priority, cost: 1, deadline: None, key: None })
}

/// Waits until it has its verdict.
fn wait(mut waiter: Waiter) -> Result<Tokens, Rejected> {
    future::block_on(std::future::poll_fn(|cx| {
        loop {
            match waiter.poll(cx) {
                Progress::Ended(ended) => return Poll::Ready(ended),
                // The token was taken by a call whose clock was ahead. The future's timer would fire at once.
                Progress::Until(at) if at <= clock::now() + Duration::from_secs(60) => {}
                Progress::Until(_) => return Poll::Pending,
            }
        }
    }))
}

fn acquire(handle: &RateLimitHandle, priority: Priority) -> Result<Tokens, Rejected> {
    match enter(handle, priority)? {
        Entered::Passed(tokens) => Ok(tokens),
        Entered::Waits(waiter) => wait(waiter),
    }
}

fn explore(body: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random(body, EXECUTIONS);
}

fn assert_quiet(handle: &RateLimitHandle, tokens: u32) {
    let snapshot = handle.snapshot();
    let counts = snapshot.counts;
    let rejected =
        counts.rejected_full + counts.rejected_max_wait + counts.rejected_deadline + counts.rejected_shed;
    assert_eq!((snapshot.tokens, snapshot.waiting), (Some(tokens), 0));
    assert_eq!(counts.limited, counts.served + counts.cancelled + rejected);
    assert!(handle.shared.try_take(1), "a token is left, and no call is thought to wait");
}

#[test]
fn no_token_is_lost_or_given_twice_and_every_waiting_call_is_woken() {
    explore(|| {
        let handle = handle(config(1));
        let inside = Arc::new(AtomicU32::new(0));
        let threads = [Priority::Low, Priority::Normal, Priority::Critical].map(|priority| {
            let (handle, inside) = (handle.clone(), Arc::clone(&inside));
            thread::spawn(move || {
                for _ in 0..2 {
                    let tokens = acquire(&handle, priority).expect("the queue has room");
                    assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::Relaxed);
                    drop(tokens);
                }
            })
        });
        threads.map(|thread| thread.join().expect("no thread panics"));
        assert_quiet(&handle, 1);
    });
}

#[test]
fn case_07_a_call_that_is_dropped_at_the_head_or_with_its_token_hands_both_on() {
    explore(|| {
        let handle = handle(config(1));
        let first = acquire(&handle, Priority::Normal).expect("it is free");
        let threads = [true, false, true].map(|cancels| {
            let handle = handle.clone();
            thread::spawn(move || {
                let entered = enter(&handle, Priority::Normal).expect("the queue has room");
                let Entered::Waits(mut waiter) = entered else { return };
                if cancels {
                    // It joins with the first poll.
                    future::block_on(std::future::poll_fn(|cx| {
                        let _ = waiter.poll(cx);
                        Poll::Ready(())
                    }));
                } else {
                    drop(wait(waiter).expect("it is served"));
                }
            })
        });
        drop(first);
        threads.map(|thread| thread.join().expect("no thread panics"));
        assert_quiet(&handle, 1);
    });
}

#[test]
fn a_displaced_call_is_woken_and_a_full_queue_loses_no_token() {
    explore(|| {
        let handle = handle(config(1).queue(QUEUE.capacity(1)));
        let threads = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical].map(|priority| {
            let handle = handle.clone();
            thread::spawn(move || acquire(&handle, priority).is_ok())
        });
        let passed = threads.map(|thread| thread.join().expect("no thread panics"));
        assert!(passed[3], "no call displaces a critical one");
        assert_quiet(&handle, 1);
    });
}

#[test]
fn case_64_numbers_that_change_wake_the_calls_that_they_let_pass() {
    explore(|| {
        let handle = handle(config(1));
        let threads = [(); 3].map(|()| {
            let handle = handle.clone();
            thread::spawn(move || drop(acquire(&handle, Priority::Normal)))
        });
        for config in [config(3), config(1).window(1, HOUR).shadow(true), config(2)] {
            handle.update(config).expect("valid");
        }
        threads.map(|thread| thread.join().expect("no thread panics"));
        assert_eq!(handle.snapshot().waiting, 0);
        assert!(handle.shared.try_take(1), "no call is thought to wait");
    });
}

/// How many of four calls pass while the rate changes. The bucket is empty by both rates, for 36 seconds at least.
fn explore_a_change(old: RateLimitConfig, new: RateLimitConfig) {
    explore(move || {
        let handle = handle(old);
        for _ in 0..50 {
            assert!(handle.shared.try_take(1));
        }
        let caller = {
            let handle = handle.clone();
            let passes = move |_: &u32| match enter(&handle, Priority::Normal) {
                Ok(Entered::Passed(tokens)) => {
                    tokens.spend();
                    true
                }
                _ => false,
            };
            thread::spawn(move || (0..4).filter(passes).count())
        };
        handle.update(new).expect("valid");
        // The call that is checked at the moment of the change may pass by the old rate.
        assert!(caller.join().expect("no thread panics") <= 1);
        assert_eq!(handle.snapshot().tokens, Some(0));
    });
}

#[test]
fn case_64_no_call_passes_by_the_parts_of_two_rates() {
    let (old, new) = (RateLimitConfig::per(1, HOUR).burst(50), RateLimitConfig::per(100, HOUR).burst(1));
    explore_a_change(old, new);
}

#[test]
fn case_64_no_call_forgives_by_the_old_rate_the_debt_of_the_new_one() {
    let (old, new) = (RateLimitConfig::per(100, HOUR).burst(50), RateLimitConfig::per(1, HOUR).burst(50));
    explore_a_change(old, new);
}

/// Each takes well under a millisecond.
const EXECUTIONS: usize = 5_000;
