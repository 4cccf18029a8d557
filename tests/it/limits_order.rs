//! The order of the calls that wait, alike in front of a concurrency limit and of a rate limit: no class starves, no
//! newcomer overtakes, no waiter is polled in vain, and the gauges tell the truth.

use std::{
    future::{Future, pending},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{sleep, timeout};
use tokio_test::task::spawn;
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneService};
use tower_reliability::{
    BoxError, Priority, concurrency_limit::ConcurrencyLimitConfig, rate_limit::RateLimitConfig,
    wait_queue::WaitQueueConfig,
};

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
struct Request {
    id: usize,
    priority: Priority,
}

/// A service behind a limit, and a look at both.
struct Subject {
    name: &'static str,
    service: BoxCloneService<Request, (), BoxError>,
    served: Arc<Mutex<Vec<Request>>>,
    waiting_by_class: Box<dyn Fn() -> [(Priority, u32); 4]>,
}

impl Subject {
    /// How many calls of each class were served, in the order of `Priority::ALL`.
    fn served_by_class(&self) -> [usize; 4] {
        let served = self.served.lock().expect("no panic");
        Priority::ALL.map(|class| served.iter().filter(|request| request.priority == class).count())
    }
}

/// The same backend behind both limits. A call takes a millisecond, and the call `HOLDS` does not end.
fn subjects(concurrency: ConcurrencyLimitConfig, rate: RateLimitConfig) -> [Subject; 2] {
    let backend = |served: &Arc<Mutex<Vec<Request>>>, takes: Duration| {
        let served = Arc::clone(served);
        service_fn(move |request: Request| {
            served.lock().expect("no panic").push(request);
            async move {
                if request.id == HOLDS {
                    pending::<()>().await;
                }
                sleep(takes).await;
                Ok::<_, BoxError>(())
            }
        })
    };
    let priority = |request: &Request| request.priority;
    let [of_concurrency, of_rate] = [(); 2].map(|()| Arc::<Mutex<Vec<Request>>>::default());
    let concurrency = concurrency.build().expect("valid").priority(priority);
    let rate = rate.build().expect("valid").priority(priority);
    let (concurrency_handle, rate_handle) = (concurrency.handle(), rate.handle());
    [
        Subject {
            name: "concurrency limit",
            service: BoxCloneService::new(concurrency.layer(backend(&of_concurrency, MILLISECOND))),
            served: of_concurrency,
            waiting_by_class: Box::new(move || concurrency_handle.snapshot().waiting_by_class),
        },
        Subject {
            name: "rate limit",
            service: BoxCloneService::new(rate.layer(backend(&of_rate, MILLISECOND))),
            served: of_rate,
            waiting_by_class: Box::new(move || rate_handle.snapshot().waiting_by_class),
        },
    ]
}

/// Both serve a call per millisecond.
fn one_per_millisecond(queue: WaitQueueConfig) -> [Subject; 2] {
    subjects(
        ConcurrencyLimitConfig::new(1).queue(queue),
        RateLimitConfig::per_second(1_000).burst(1).queue(queue),
    )
}

const HOLDS: usize = usize::MAX;
const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

#[tokio::test(start_paused = true)]
async fn case_30_beside_critical_calls_that_need_twice_the_capacity_each_class_gets_its_share() {
    const SERVED: usize = 5_000;
    let queue = WaitQueueConfig::new().capacity(400).max_wait(10 * Duration::from_secs(1)).without_shedding();
    let shares = queue
        .minimum_share(Priority::High, 0.03)
        .minimum_share(Priority::Normal, 0.05)
        .minimum_share(Priority::Low, 0.02);
    for (queue, expected) in [(queue, [5, 5, 5]), (shares, [150, 250, 100])] {
        for subject in one_per_millisecond(queue) {
            let calls = (0..SERVED).map(|tick| {
                let lower = [Priority::High, Priority::Normal, Priority::Low][tick % 3];
                [Priority::Critical, Priority::Critical, lower]
            });
            let mut running = Vec::new();
            for (tick, calls) in calls.enumerate() {
                for priority in calls {
                    running
                        .push(tokio::spawn(subject.service.clone().oneshot(Request { id: tick, priority })));
                }
                sleep(MILLISECOND).await;
            }
            let served = subject.served_by_class();
            println!("{}: of {SERVED} calls {served:?}", subject.name);
            running.iter().for_each(tokio::task::JoinHandle::abort);
            let all: usize = served.iter().sum();
            assert!(all >= SERVED - 5, "{}: {all}", subject.name);
            for (served, expected) in served.into_iter().skip(1).zip(expected) {
                let near = expected - expected / 20 - 1..=expected + expected / 20 + 1;
                assert!(near.contains(&served), "{}: {served} and not {expected}", subject.name);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn case_29_newcomers_at_the_instant_of_each_turn_overtake_no_call_of_their_class() {
    let queue = WaitQueueConfig::new().capacity(10_000).max_wait(HOUR).without_shedding();
    for subject in one_per_millisecond(queue) {
        let mut calls = Vec::new();
        for id in 0..3_000 {
            let service = subject.service.clone();
            // The third of each millisecond comes when the call of the tick has just ended.
            calls.push(tokio::spawn(service.oneshot(Request { id, priority: Priority::Normal })));
            if id % 3 == 1 {
                sleep(MILLISECOND).await;
            }
        }
        for call in calls {
            call.await.expect("no panic").expect("it is served");
        }
        let served = subject.served.lock().expect("no panic");
        assert!(served.len() == 3_000 && served.is_sorted(), "{}", subject.name);
    }
}

#[tokio::test(start_paused = true)]
async fn case_32_after_each_of_ten_thousand_random_cancels_the_gauges_are_the_reality() {
    for seed in 0..2 {
        let queue = WaitQueueConfig::new().capacity(60).max_wait(HOUR).without_shedding();
        let rate = RateLimitConfig::per(10, HOUR).burst(1).queue(queue.max_wait(24 * HOUR));
        for subject in subjects(ConcurrencyLimitConfig::new(1).queue(queue), rate) {
            let mut service = subject.service.clone();
            // Takes the only permit, or the only token.
            let holder = Request { id: HOLDS, priority: Priority::Critical };
            let mut holder = spawn(service.ready().await.expect("ready").call(holder));
            assert!(holder.poll().is_pending());
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut waiting, mut cancelled, mut evicted) = (Vec::new(), 0, 0);
            while cancelled < 10_000 {
                if waiting.is_empty() || rng.random_bool(0.55) {
                    let priority = Priority::ALL[rng.random_range(0..4)];
                    let mut call = spawn(service.call(Request { id: 0, priority }));
                    if call.poll().is_pending() {
                        waiting.push((priority, call));
                    }
                } else {
                    drop(waiting.swap_remove(rng.random_range(0..waiting.len())));
                    cancelled += 1;
                }
                let before = waiting.len();
                waiting.retain_mut(|(_, call)| !call.is_woken() || call.poll().is_pending());
                evicted += before - waiting.len();
                let reality = Priority::ALL.map(|class| {
                    let of_class = waiting.iter().filter(|(priority, _)| *priority == class).count();
                    (class, u32::try_from(of_class).expect("small"))
                });
                assert_eq!((subject.waiting_by_class)(), reality, "{}, seed {seed}", subject.name);
            }
            assert!(evicted > 100, "{}, seed {seed}: {evicted} calls were evicted", subject.name);
            drop(waiting);
            assert!((subject.waiting_by_class)().iter().all(|(_, waiting)| *waiting == 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn case_05_a_hundred_idle_waiters_are_polled_a_handful_of_times_each() {
    const WAITERS: usize = 100;
    let queue = WaitQueueConfig::new().max_wait(HOUR).without_shedding();
    // Ten turns a second.
    let rate = RateLimitConfig::per_second(10).burst(1).queue(queue);
    let [_, subject] = subjects(ConcurrencyLimitConfig::new(1), rate);
    let mut service = subject.service.clone();
    service.call(Request { id: 0, priority: Priority::Normal }).await.expect("the only token");
    let polls: [AtomicUsize; WAITERS] = std::array::from_fn(|_| AtomicUsize::new(0));
    let calls = polls.iter().enumerate().map(|(id, polls)| {
        let call = subject.service.clone().oneshot(Request { id, priority: Priority::Normal });
        let mut call = Box::pin(call);
        std::future::poll_fn(move |cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            call.as_mut().poll(cx)
        })
    });
    // `join_all` polls of so many calls only those that were woken.
    let calls = pin!(join_all(calls));
    assert!(timeout(Duration::from_millis(500), calls).await.is_err());
    let polls = polls.each_ref().map(|polls| polls.load(Ordering::Relaxed));
    let served = subject.served.lock().expect("no panic").len();
    println!("{polls:?}, {served} were served");
    assert!((5..=6).contains(&served), "{served}");
    let most = polls.iter().max().expect("a hundred");
    // Each call is polled once, the served ones up to four times more.
    assert!(*most <= 5 && polls.iter().sum::<usize>() <= WAITERS + 6 * 4, "{polls:?}");
}
