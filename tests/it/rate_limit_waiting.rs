//! Calls that wait for their tokens: the order, the time of each turn, and what a call that gives up leaves behind.

use std::{
    future::{Future, ready},
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use futures::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, advance, timeout};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task::spawn};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};
use tower_reliability::{
    BoxError, Deadline, DeadlineSource, Priority, PrioritySource, Reason, Rejected,
    rate_limit::{CostSource, RateLimitConfig},
    wait_queue::WaitQueueConfig,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

#[derive(Clone, Copy)]
struct Request {
    id: u32,
    priority: Priority,
    cost: u32,
    time: Option<Duration>,
}

/// A request of one token, without a deadline.
const fn request(id: u32, priority: Priority) -> Request {
    Request { id, priority, cost: 1, time: None }
}

/// The sources of a request.
#[derive(Clone)]
struct Read;

impl PrioritySource<Request> for Read {
    fn priority(&self, request: &Request) -> Priority {
        request.priority
    }
}

impl CostSource<Request> for Read {
    fn cost(&self, request: &Request) -> u32 {
        request.cost
    }
}

impl DeadlineSource<Request> for Read {
    fn deadline(&self, request: &Request) -> Option<Deadline> {
        request.time.map(Deadline::after)
    }
}

/// One limit, around a backend that notes each request and its time.
macro_rules! limited {
    ($config:expr) => {{
        let layer = $config.build().expect("valid").priority(Read).deadlines(Read).cost(Read);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let begin = Instant::now();
        let log = Arc::clone(&seen);
        let inner = service_fn(move |request: Request| {
            log.lock().expect("no panic").push((request.id, begin.elapsed().as_millis()));
            ready(Ok::<_, BoxError>(request.id))
        });
        (layer.layer(inner), layer.handle(), move || seen.lock().expect("no panic").clone())
    }};
}

fn reason(result: Result<u32, BoxError>) -> Reason {
    result.expect_err("it is rejected").downcast_ref::<Rejected>().expect("by the limit").reason()
}

#[tokio::test(start_paused = true)]
async fn case_29_and_30_waiting_calls_get_their_tokens_by_class_and_age_at_the_rate() {
    use Priority::{Critical, High, Low, Normal};
    let (mut service, handle, seen) = limited!(RateLimitConfig::per_second(10).burst(1).max_wait(SECOND));
    let calls = [Normal, Low, High, Normal, Critical, High];
    let calls = (0..).zip(calls).map(|(id, priority)| service.call(request(id, priority)));
    for answer in join_all(calls.collect::<Vec<_>>()).await {
        answer.expect("it is served");
    }
    assert_eq!(seen(), [(0, 0), (4, 100), (2, 200), (5, 300), (3, 400), (1, 500)]);
    let counts = handle.snapshot().counts;
    assert_eq!((counts.limited, counts.served), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn case_29_a_storm_of_newcomers_does_not_overtake() {
    let (service, handle, seen) = limited!(RateLimitConfig::per_second(100).burst(1).max_wait(10 * SECOND));
    let mut calls = Vec::new();
    for id in 0..200 {
        let service = service.clone();
        calls.push(tokio::spawn(service.oneshot(request(id, Priority::Normal))));
        advance(Duration::from_millis(5)).await;
    }
    for call in calls {
        call.await.expect("no panic").expect("it is served");
    }
    assert!(seen().is_sorted(), "{:?}", seen());
    // The last call is served at 1 990 ms, and looked at when the clock has moved on.
    assert_eq!(seen().last().map(|(_, at)| *at), Some(1_995));
    assert_eq!(handle.snapshot().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn case_30_a_class_whose_calls_would_all_come_too_late_gets_its_share() {
    let queue = WaitQueueConfig::new().max_wait(SECOND).without_shedding();
    let queue = queue.minimum_share(Priority::Low, 0.005);
    let (service, handle, seen) = limited!(RateLimitConfig::per_second(100).burst(1).queue(queue));
    // Twice the rate for a minute. The calls that wait need the whole rate until `max_wait`.
    for _ in 0..12_000 {
        tokio::spawn(service.clone().oneshot(request(0, Priority::Critical)));
        tokio::spawn(service.clone().oneshot(request(1, Priority::Low)));
        tokio::time::sleep(SECOND / 200).await;
    }
    let low = seen().iter().filter(|(id, _)| *id == 1).count();
    let served = handle.snapshot().counts.served;
    println!("{low} of {served} served calls were low");
    assert!((25..=31).contains(&low) && served >= 5_900, "{low} of {served}");
}

#[tokio::test(start_paused = true)]
async fn a_window_serves_waiting_calls_as_its_calls_leave() {
    let config = RateLimitConfig::sliding_window(2, SECOND).max_wait(3 * SECOND);
    let (service, _, seen) = limited!(config);
    let calls = (0..6).map(|id| {
        let service = service.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(u64::from(id) * 100)).await;
            service.oneshot(request(id, Priority::Normal)).await
        }
    });
    for answer in join_all(calls).await {
        answer.expect("it is served");
    }
    assert_eq!(seen(), [(0, 0), (1, 100), (2, 1_000), (3, 1_100), (4, 2_000), (5, 2_100)]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_would_be_late_is_refused_at_once_and_the_others_are_in_time() {
    let config = RateLimitConfig::per_second(10).burst(1).max_wait(Duration::from_millis(450));
    let (service, handle, seen) = limited!(config);
    let begin = Instant::now();
    let due =
        |id, millis| Request { time: Some(Duration::from_millis(millis)), ..request(id, Priority::Normal) };
    let mut calls = Vec::new();
    for request in
        [due(0, 5_000), due(1, 101), due(2, 200), due(2, 201), due(3, 5_000), due(4, 5_000), due(5, 5_000)]
    {
        calls.push(spawn(Box::pin(service.clone().oneshot(request))));
    }
    let answers: Vec<_> = calls.iter_mut().map(tokio_test::task::Spawn::poll).collect();
    let refused: Vec<_> = answers
        .into_iter()
        .enumerate()
        .filter_map(|(id, answer)| match answer {
            Poll::Ready(Err(error)) => {
                Some((id, error.downcast_ref::<Rejected>().cloned().expect("rejected")))
            }
            _ => None,
        })
        .map(|(id, rejected)| (id, rejected.reason(), rejected.retry_after().expect("a time").as_millis()))
        .collect();
    // The third call would be served 200 ms from now, and its time is over then.
    assert_eq!(refused, [(2, Reason::DeadlineExceeded, 200), (6, Reason::RateLimited, 500)]);
    let waiting = calls
        .into_iter()
        .enumerate()
        .filter(|(id, _)| ![0, 2, 6].contains(id))
        .map(|(_, call)| call.into_inner());
    for answer in join_all(waiting).await {
        answer.expect("its turn comes in time");
    }
    assert_eq!(seen(), [(0, 0), (1, 100), (2, 200), (3, 300), (4, 400)]);
    assert_eq!(begin.elapsed(), Duration::from_millis(400));
    let counts = handle.snapshot().counts;
    assert_eq!((counts.rejected_deadline, counts.rejected_max_wait), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn case_13_the_wait_begins_with_the_call_and_not_with_the_first_poll() {
    let (mut service, handle, _) = limited!(RateLimitConfig::per(1, HOUR).max_wait(2 * HOUR));
    service.call(request(0, Priority::Normal)).await.expect("the only token");
    let late = service.call(request(1, Priority::Normal));
    advance(2 * HOUR).await;
    // The token of this call has come meanwhile.
    assert!(assert_ready!(spawn(late).poll()).is_ok());
    let config = RateLimitConfig::per(1, HOUR).max_wait(HOUR + SECOND);
    let (mut service, late_handle, _) = limited!(config);
    service.call(request(0, Priority::Normal)).await.expect("the only token");
    let mut waiting = spawn(service.call(request(1, Priority::Normal)));
    assert_pending!(waiting.poll());
    drop(waiting);
    let late = service.call(request(2, Priority::Normal));
    advance(2 * SECOND).await;
    let mut newer = spawn(service.call(request(3, Priority::Normal)));
    assert_pending!(newer.poll());
    assert_eq!(reason(assert_ready!(spawn(late).poll())), Reason::RateLimited);
    assert_eq!(late_handle.snapshot().counts.rejected_max_wait, 1);
    assert_eq!(handle.snapshot().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn case_05_an_idle_waiter_is_polled_once_per_token_at_most() {
    let (mut service, _, _) = limited!(RateLimitConfig::per(1, HOUR).max_wait(24 * HOUR));
    service.call(request(0, Priority::Normal)).await.expect("the only token");
    let mut polls = 0;
    let calls = [request(1, Priority::Normal), request(2, Priority::Normal)].map(|it| service.call(it));
    let mut calls = Box::pin(join_all(calls));
    let counted = std::future::poll_fn(|cx| {
        polls += 1;
        calls.as_mut().poll(cx)
    });
    assert!(timeout(Duration::from_millis(500), counted).await.is_err());
    assert!(polls <= 3, "{polls} polls");
    let begin = Instant::now();
    calls.await;
    assert!(begin.elapsed() + SECOND >= 2 * HOUR);
}

#[tokio::test(start_paused = true)]
async fn case_07_a_call_that_gives_up_while_it_waits_leaves_its_turn_to_the_next() {
    let (mut service, handle, _) = limited!(RateLimitConfig::per_second(1).max_wait(10 * SECOND));
    service.call(request(0, Priority::Normal)).await.expect("the only token");
    // Before its first poll a call has no place.
    drop(service.call(request(1, Priority::Normal)));
    let mut head = spawn(service.call(request(2, Priority::Normal)));
    let mut next = spawn(service.call(request(3, Priority::Normal)));
    assert_pending!(head.poll());
    assert_pending!(next.poll());
    assert_eq!(handle.snapshot().waiting, 2);
    // The head has the timer. The next call gets it.
    drop(head);
    assert!(next.is_woken());
    assert_pending!(next.poll());
    advance(SECOND).await;
    assert!(next.is_woken());
    assert_ready_ok!(next.poll());
    let counts = handle.snapshot().counts;
    assert_eq!((counts.limited, counts.cancelled, counts.served), (2, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn case_07_a_token_of_a_call_that_was_served_and_dropped_goes_to_the_next_at_once() {
    for config in [RateLimitConfig::per_second(1), RateLimitConfig::sliding_window(1, SECOND)] {
        let (mut service, handle, _) = limited!(config.max_wait(10 * SECOND));
        service.call(request(0, Priority::Normal)).await.expect("the only token");
        let mut served = spawn(service.call(request(1, Priority::Normal)));
        let mut next = spawn(service.call(request(2, Priority::High)));
        assert_pending!(served.poll());
        assert_pending!(next.poll());
        // The next call keeps the time, and is polled first: it serves itself.
        advance(SECOND).await;
        assert_ready_ok!(next.poll());
        advance(SECOND).await;
        let mut third = spawn(service.call(request(3, Priority::Normal)));
        assert_pending!(third.poll());
        // A newcomer has served the call that was not polled in time.
        assert_eq!(handle.snapshot().counts.served, 2);
        assert!(served.is_woken());
        drop(served);
        assert!(third.is_woken());
        assert_ready_ok!(third.poll());
        assert_eq!(handle.snapshot().waiting, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn case_28_a_call_that_hears_too_late_that_it_was_served_returns_no_tokens_of_others() {
    for config in [RateLimitConfig::per_second(1), RateLimitConfig::sliding_window(1, SECOND)] {
        let (mut service, handle, seen) = limited!(config.max_wait(10 * SECOND));
        service.call(request(0, Priority::Normal)).await.expect("the only token");
        let mut late = spawn(service.call(request(1, Priority::Normal)));
        let mut next = spawn(service.call(request(2, Priority::Normal)));
        assert_pending!(late.poll());
        assert_pending!(next.poll());
        advance(SECOND).await;
        // A newcomer serves the first of them, whose task is busy until its token has come back.
        drop(service.call(request(3, Priority::Normal)));
        assert_eq!(handle.snapshot().counts.served, 1);
        advance(SECOND).await;
        assert_ready_ok!(next.poll());
        advance(SECOND / 10).await;
        drop(late);
        assert_pending!(spawn(service.call(request(4, Priority::Normal))).poll());
        assert_eq!(seen(), [(0, 0), (2, 2_000)]);
    }
}

#[tokio::test(start_paused = true)]
async fn case_64_a_call_that_was_served_before_a_change_returns_nothing_that_it_did_not_take() {
    let rate = RateLimitConfig::per_second(1).max_wait(10 * SECOND);
    for before in [rate, rate.shadow(true)] {
        let (mut service, handle, _) = limited!(rate);
        service.call(request(0, Priority::Normal)).await.expect("the only token");
        let mut served = spawn(service.call(request(1, Priority::Normal)));
        assert_pending!(served.poll());
        handle.update(before).expect("valid");
        advance(SECOND).await;
        drop(service.call(request(2, Priority::Normal)));
        assert_eq!(handle.snapshot().counts.served, 1);
        advance(SECOND / 10).await;
        handle.update(rate.window(1, HOUR)).expect("valid");
        advance(SECOND).await;
        service.call(request(3, Priority::Normal)).await.expect("the window is empty");
        drop(served);
        assert_eq!(handle.snapshot().left_in_window, Some(0));
    }
}

#[tokio::test(start_paused = true)]
async fn case_09_a_call_that_waits_holds_no_place_of_the_inner_service() {
    let layer = RateLimitConfig::per_second(1).max_wait(10 * SECOND).build().expect("valid");
    let mut inner = ConcurrencyLimitLayer::new(1).layer(service_fn(|it: u32| ready(Ok::<_, BoxError>(it))));
    let mut service = layer.layer(inner.clone());
    // The only token is taken between readiness and call.
    service.ready().await.expect("ready");
    let other = service_fn(|it: u32| ready(Ok::<_, BoxError>(it)));
    layer.layer(other).oneshot(1).await.expect("the only token");
    let mut waiting = spawn(service.call(2));
    assert_pending!(waiting.poll());
    timeout(Duration::from_millis(1), inner.ready()).await.expect("its place is free").expect("ready");
    // Now the inner service has no place, and the call waits with its token.
    advance(SECOND).await;
    assert_pending!(waiting.poll());
    assert_eq!(layer.handle().snapshot().waiting, 0);
    drop(inner);
    assert!(waiting.is_woken());
    assert_eq!(assert_ready_ok!(waiting.poll()), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_of_several_tokens_keeps_its_turn() {
    let (mut service, _, seen) = limited!(RateLimitConfig::per_second(10).burst(5).max_wait(10 * SECOND));
    let of = |id, cost| Request { cost, ..request(id, Priority::Normal) };
    let mut calls = vec![service.call(of(0, 5)), service.call(of(1, 5)), service.call(of(2, 1))];
    // A critical call at the head needs less, and comes earlier.
    let mut first = spawn(Box::pin(join_all(calls.drain(..))));
    assert_pending!(first.poll());
    let critical = service.call(Request { cost: 2, ..request(3, Priority::Critical) });
    let (answers, critical) = tokio::join!(first.into_inner(), critical);
    assert!(critical.is_ok() && answers.into_iter().all(|answer| answer.is_ok()));
    assert_eq!(seen(), [(0, 0), (3, 200), (1, 700), (2, 800)]);
}

#[tokio::test(start_paused = true)]
async fn case_32_a_full_queue_displaces_the_newest_call_of_the_lowest_class() {
    let queue = WaitQueueConfig::new().capacity(1).max_wait(10 * SECOND).without_shedding();
    let (mut service, handle, _) = limited!(RateLimitConfig::per_second(1).queue(queue));
    service.call(request(0, Priority::Normal)).await.expect("the only token");
    let mut low = spawn(service.call(request(1, Priority::Low)));
    assert_pending!(low.poll());
    let mut high = spawn(service.call(request(2, Priority::High)));
    assert_pending!(high.poll());
    assert!(low.is_woken());
    let error = assert_ready!(low.poll()).expect_err("displaced");
    let rejected = error.downcast_ref::<Rejected>().expect("by the limit");
    assert_eq!((rejected.reason(), rejected.retry_after()), (Reason::RateLimited, Some(2 * SECOND)));
    assert_eq!(
        reason(assert_ready!(spawn(service.call(request(3, Priority::High))).poll())),
        Reason::RateLimited
    );
    advance(SECOND).await;
    assert_ready_ok!(high.poll());
    assert_eq!(handle.snapshot().counts.rejected_full, 2);
}

#[tokio::test(start_paused = true)]
async fn case_64_other_numbers_reach_the_calls_that_wait() {
    let slow = RateLimitConfig::per(1, HOUR).max_wait(10 * HOUR);
    let (mut service, handle, _) = limited!(slow);
    service.call(request(0, Priority::Normal)).await.expect("the only token");
    let mut calls: Vec<_> = (1..4).map(|id| spawn(service.call(request(id, Priority::Normal)))).collect();
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    // Faster: the head sets its timer again. No token has come yet.
    handle.update(RateLimitConfig::per_second(1).max_wait(HOUR)).expect("valid");
    assert!(calls[0].is_woken() && !calls[1].is_woken());
    assert_pending!(calls[0].poll());
    advance(SECOND).await;
    assert!(calls[0].is_woken());
    assert_ready_ok!(calls[0].poll());
    // Slower, and a shadow: all pass.
    handle.update(slow).expect("valid");
    advance(SECOND).await;
    assert_pending!(calls[1].poll());
    handle.update(slow.shadow(true)).expect("valid");
    for call in &mut calls[1..] {
        assert!(call.is_woken());
        assert_ready_ok!(call.poll());
    }
    assert_eq!(handle.snapshot().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_shadow_let_pass_returns_no_tokens() {
    let config = RateLimitConfig::per_second(1).burst(1).max_wait(10 * SECOND);
    let (mut service, handle, _) = limited!(config);
    service.call(request(0, Priority::Normal)).await.expect("the only token");
    let mut waiting = spawn(service.call(request(1, Priority::Normal)));
    assert_pending!(waiting.poll());
    handle.update(config.shadow(true)).expect("valid");
    drop(waiting);
    handle.update(config).expect("valid");
    assert_eq!(handle.snapshot().tokens, Some(0));
}

#[tokio::test(start_paused = true)]
async fn case_61_and_32_counts_are_exact_after_ten_thousand_random_drops() {
    for seed in 0..4 {
        let mut rng = StdRng::seed_from_u64(seed);
        let queue = WaitQueueConfig::new().capacity(20).max_wait(SECOND);
        let config = RateLimitConfig::per_second(1_000).burst(5).queue(queue);
        let config = if seed % 2 == 0 { config } else { config.window(90, Duration::from_millis(100)) };
        let (mut service, handle, seen) = limited!(config);
        let mut calls = Vec::new();
        let (mut answered, mut refused, mut dropped) = (0_u32, 0_u32, 0_u32);
        for id in 0..10_000 {
            let priority = Priority::ALL[rng.random_range(0..4)];
            let time = rng.random_bool(0.3).then(|| Duration::from_millis(rng.random_range(0..30)));
            let cost = rng.random_range(1..4);
            calls.push(spawn(service.call(Request { id, priority, cost, time })));
            if rng.random_bool(0.5) {
                advance(Duration::from_micros(rng.random_range(0..3_000))).await;
            }
            for _ in 0..2 {
                let at = rng.random_range(0..calls.len());
                if rng.random_bool(0.2) {
                    drop(calls.swap_remove(at));
                    dropped += 1;
                } else if let Poll::Ready(answer) = calls[at].poll() {
                    drop(calls.swap_remove(at));
                    *if answer.is_ok() { &mut answered } else { &mut refused } += 1;
                }
                if calls.is_empty() {
                    break;
                }
            }
        }
        dropped += u32::try_from(calls.len()).expect("small");
        drop(calls);
        let snapshot = handle.snapshot();
        let counts = snapshot.counts;
        let rejected = counts.rejected_full
            + counts.rejected_max_wait
            + counts.rejected_deadline
            + counts.rejected_shed
            + counts.rejected_cost;
        assert_eq!((snapshot.waiting, answered + refused + dropped), (0, 10_000), "seed {seed}");
        assert_eq!(counts.limited, counts.served + counts.cancelled + rejected, "seed {seed}");
        assert!(u64::from(refused) <= rejected, "seed {seed}");
        assert!(answered > 1_000 && seen().len() >= answered as usize, "seed {seed}: {answered}");
        advance(SECOND).await;
        assert_eq!(handle.snapshot().tokens, Some(5), "seed {seed}");
        assert!(handle.snapshot().left_in_window.is_none_or(|left| left == 90), "seed {seed}");
        service.call(request(0, Priority::Low)).await.expect("a token is free");
    }
}
