//! Rate limit and pacing as stages: which requests they count, and what a call that waits or is rejected costs.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures::future::join_all;
use http::{Request, Response};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, task::spawn};
use tower::{Layer, ServiceExt, limit::ConcurrencyLimit};
use tower_reliability::{
    CloneRequest, Error, ErrorClass, Event, Outcome, Priority, Reason, Rejected, ReliabilityStack,
    circuit_breaker::CircuitBreakerConfig,
    concurrency_limit::ConcurrencyLimitConfig,
    hedge::HedgeConfig,
    http as reliable,
    rate_limit::RateLimitConfig,
    retry::{Jitter, RetryConfig},
    retry_budget::RetryBudgetConfig,
    stack::{Costed, PerKey},
    testing::{Scripted, Step},
    wait_queue::WaitQueueConfig,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// A call at once, and then a call per second.
const ONE: RateLimitConfig = RateLimitConfig::per_second(1);
/// A hundred calls at once, and the next in 36 s.
const HUNDRED: RateLimitConfig = RateLimitConfig::per(100, HOUR);

type Answers<Req = u32> = Scripted<Req, (), Infallible>;

fn answers<Req>() -> Answers<Req> {
    Scripted::new(|_: &Req| Step::answer(()))
}

fn rejected<Res: std::fmt::Debug>(result: Result<Res, Error<Infallible>>) -> Rejected {
    let Err(Error::Rejected(rejected)) = result else { panic!("{result:?}") };
    rejected
}

/// The layer and the reason of a rejection.
fn by<Res: std::fmt::Debug>(result: Result<Res, Error<Infallible>>) -> (String, Reason) {
    let rejected = rejected(result);
    (rejected.layer().as_str().to_owned(), rejected.reason())
}

/// A stack of all stages with these two limits; its counts inside the rate limit; and its events.
macro_rules! all_stages {
    ($rate_limit:expr, $pacing:expr) => {{
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let log = Arc::clone(&told);
        let stack = ReliabilityStack::builder()
            .named("stock")
            .timeout(10 * SECOND)
            .rate_limit($rate_limit)
            .concurrency_limit(ConcurrencyLimitConfig::new(5))
            .retry(RetryConfig::new())
            .hedge(HedgeConfig::fixed(SECOND))
            .pacing($pacing)
            .circuit_breaker(CircuitBreakerConfig::new())
            .attempt_timeout(5 * SECOND)
            .listen(move |event: &Event| log.lock().expect("no panic").push(event.to_string()))
            .build()
            .expect("the numbers go together");
        (stack, told)
    }};
}

#[tokio::test(start_paused = true)]
async fn case_59_a_call_without_a_token_takes_nothing_of_the_inner_stages() {
    let (stack, told) = all_stages!(ONE, HUNDRED);
    let (limit, retry, hedge, pacing, breaker) =
        (stack.concurrency_limit(), stack.retry(), stack.hedge(), stack.pacing(), stack.circuit_breaker());
    let counts = || {
        let (limit, pacing) = (limit.snapshot(), pacing.snapshot());
        (limit, retry.snapshot(), hedge.snapshot(), pacing, breaker.snapshot())
    };
    let backend = answers();
    let service = stack.layer(backend.clone());
    service.clone().oneshot(0).await.expect("the first has a token");
    let quiet = counts();
    for _ in 0..100 {
        let expected = ("stock.rate_limit".to_owned(), Reason::RateLimited);
        assert_eq!(by(service.clone().oneshot(1).await), expected);
    }
    assert_eq!((counts(), backend.calls()), (quiet, 1));
    assert_eq!(counts().3.tokens, Some(99), "one attempt");
    let rejection = "stock.rate_limit: normal call rejected (rate limit reached)";
    assert_eq!(*told.lock().expect("no panic"), [rejection; 100], "and no event of another stage");
}

#[tokio::test(start_paused = true)]
async fn case_59_an_attempt_that_pacing_rejects_is_not_repeated_and_takes_nothing_of_the_breaker() {
    let (stack, told) = all_stages!(HUNDRED, ONE);
    let (retry, hedge, breaker) = (stack.retry(), stack.hedge(), stack.circuit_breaker());
    let backend = answers();
    let service = stack.layer(backend.clone());
    service.clone().oneshot(0).await.expect("the first has a token");
    let quiet = breaker.snapshot();
    for _ in 0..20 {
        assert_eq!(by(service.clone().oneshot(1).await), ("stock.pacing".to_owned(), Reason::RateLimited));
    }
    assert_eq!((breaker.snapshot(), backend.calls()), (quiet, 1));
    assert_eq!((retry.snapshot().counts.retries, hedge.snapshot().counts.hedges), (0, 0));
    assert_eq!(stack.pacing().snapshot().counts.limited, 20, "no attempt is repeated");
    assert_eq!(stack.rate_limit().snapshot().tokens, Some(79), "a call takes its token once");
    assert_eq!(told.lock().expect("no panic").len(), 20, "an event per rejection");
    advance(SECOND).await;
    service.oneshot(2).await.expect("the rejected calls took no token");
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_counts_calls_and_pacing_counts_attempts() {
    let by_result = |result: Result<&(), &&str>| match result {
        Ok(()) => Outcome::Success,
        Err(_) => Outcome::failure(ErrorClass::Server),
    };
    let stack = ReliabilityStack::builder()
        .classify(by_result)
        .retry_budget(RetryBudgetConfig::new().without_health_gate().build().expect("in range"))
        .rate_limit(HUNDRED)
        .retry(RetryConfig::fixed(SECOND))
        .hedge(HedgeConfig::fixed(SECOND))
        .pacing(HUNDRED)
        .build()
        .expect("in range");
    let backend = Scripted::<u32, (), &str>::new(|_: &u32| Step::answer(()));
    backend.play([Step::fail("down"), Step::fail("down").after(SECOND / 2)]);
    stack.layer(backend.clone()).oneshot(0).await.expect("the third answers");
    let tokens = (stack.rate_limit().snapshot().tokens, stack.pacing().snapshot().tokens);
    assert_eq!((tokens, backend.calls()), ((Some(99), Some(97)), 3));
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_pacing_is_no_time_of_the_backend() {
    let stack = ReliabilityStack::builder()
        .timeout(10 * SECOND)
        .pacing(ONE.max_wait(10 * SECOND))
        .circuit_breaker(CircuitBreakerConfig::new().slow_call(SECOND / 4, 0.5))
        .attempt_timeout(SECOND / 2)
        .build()
        .expect("in range");
    let backend = Answers::<u32>::new(|_: &u32| Step::answer(()).after(SECOND / 10));
    let service = stack.layer(backend.clone());
    for answer in join_all((0..5).map(|n| service.clone().oneshot(n))).await {
        answer.expect("each has its turn");
    }
    assert_eq!(backend.call_times(), [0, 1, 2, 3, 4].map(|n| n * SECOND));
    let circuit = stack.circuit_breaker().snapshot();
    assert_eq!((circuit.window_calls, circuit.window_slow, circuit.window_failures), (5, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn case_41_an_attempt_whose_turn_comes_after_the_deadline_is_rejected_at_once() {
    let stack = reliable::stack()
        .resend(CloneRequest)
        .timeout(3 * SECOND)
        .retry(RetryConfig::fixed(SECOND / 2).jitter(Jitter::None))
        .pacing(RateLimitConfig::per(1, 4 * SECOND).max_wait(3 * SECOND))
        .build()
        .expect("in range");
    let backend = Scripted::<Request<()>, Response<()>, Infallible>::new(|_: &Request<()>| {
        let unavailable = Response::builder().status(503).body(());
        Step::answer(unavailable.expect("a response")).after(SECOND)
    });
    let service = stack.layer(backend.clone());
    let began = Instant::now();
    let of_retry = by(service.clone().oneshot(Request::new(())).await);
    assert_eq!(of_retry, ("pacing".to_owned(), Reason::DeadlineExceeded));
    assert_eq!((began.elapsed(), backend.calls()), (SECOND * 3 / 2, 1), "the attempt and the delay");
    advance(3 * SECOND).await;
    service.clone().oneshot(Request::new(())).await.expect_err("the retry of the next call, likewise");
    assert_eq!((began.elapsed(), backend.calls()), (6 * SECOND, 2));
}

#[tokio::test(start_paused = true)]
async fn the_total_timeout_ends_the_wait_for_a_token() {
    let patient = RateLimitConfig::per(10, 8 * SECOND).burst(1).queue(WaitQueueConfig::new());
    let stack = ReliabilityStack::builder()
        .timeout(SECOND / 2)
        .rate_limit(Some(patient))
        .pacing(Some(HUNDRED))
        .build()
        .expect("the default wait is no reason for a refusal");
    let service = stack.layer(answers());
    service.clone().oneshot(1).await.expect("the first has a token");
    let (began, limit) = (Instant::now(), stack.rate_limit().expect("it is present"));
    assert_eq!(by(service.oneshot(2).await).0, "timeout");
    assert_eq!((began.elapsed(), limit.snapshot().counts.cancelled), (SECOND / 2, 1));
    assert_eq!(stack.pacing().expect("it is present").snapshot().tokens, Some(99));
}

#[tokio::test(start_paused = true)]
async fn case_07_a_call_that_is_dropped_while_it_waits_returns_its_place() {
    for of_calls in [true, false] {
        let limit = |on: bool| on.then_some(ONE.max_wait(HOUR));
        let stack = ReliabilityStack::builder()
            .rate_limit(limit(of_calls))
            .retry(RetryConfig::new())
            .hedge(HedgeConfig::new())
            .pacing(limit(!of_calls))
            .build()
            .expect("in range");
        let handle = stack.rate_limit().or(stack.pacing()).expect("one of them");
        let backend = answers();
        let service = stack.layer(backend.clone());
        service.clone().oneshot(0).await.expect("the first has a token");
        let mut calls: Vec<_> = (1..=3).map(|n| spawn(service.clone().oneshot(n))).collect();
        for call in &mut calls {
            assert_pending!(call.poll());
        }
        // One that is never polled, and the first in the queue.
        drop(service.clone().oneshot(4));
        drop(calls.remove(0));
        assert_eq!((handle.snapshot().waiting, handle.snapshot().counts.cancelled), (2, 1));
        advance(SECOND).await;
        assert!(calls[0].is_woken() && calls[0].poll().is_ready(), "it moves up");
        drop(calls);
        assert_eq!((handle.snapshot().waiting, backend.calls()), (0, 2), "of calls: {of_calls}");
        advance(SECOND).await;
        service.oneshot(5).await.expect("a call that was dropped took no token");
    }
}

#[tokio::test(start_paused = true)]
async fn case_09_a_call_that_waits_for_a_token_does_not_hold_the_service() {
    for of_calls in [true, false] {
        let limit = |on: bool| on.then_some(ONE.max_wait(HOUR));
        let stack = ReliabilityStack::builder()
            .rate_limit(limit(of_calls))
            .concurrency_limit(ConcurrencyLimitConfig::new(1))
            .retry(RetryConfig::new())
            .hedge(HedgeConfig::new())
            .pacing(limit(!of_calls))
            .circuit_breaker(CircuitBreakerConfig::new())
            .build()
            .expect("in range");
        let inner = ConcurrencyLimit::new(answers(), 1);
        let service = stack.layer(inner.clone());
        service.clone().oneshot(0).await.expect("the first has a token");
        let mut waits = spawn(service.oneshot(1));
        assert_pending!(waits.poll());
        let mut other = inner.clone();
        assert!(spawn(other.ready()).poll().is_ready(), "of calls: {of_calls}");
        // A permit is for a call with all its attempts.
        assert_eq!(stack.concurrency_limit().snapshot().in_flight, u32::from(!of_calls));
        drop(other);
        advance(SECOND).await;
        waits.await.expect("it has its turn");
    }
}

#[tokio::test(start_paused = true)]
async fn case_30_the_source_of_the_builder_orders_the_calls_that_wait() {
    for of_calls in [true, false] {
        let limit = |on: bool| on.then_some(ONE.max_wait(HOUR));
        let stack = ReliabilityStack::builder()
            .rate_limit(limit(of_calls))
            .pacing(limit(!of_calls))
            .priority(|n: &u32| if *n == 3 { Priority::Critical } else { Priority::Low })
            .build()
            .expect("in range");
        let backend = answers();
        let service = stack.layer(backend.clone());
        for answer in join_all([0, 1, 2, 3].map(|n| service.clone().oneshot(n))).await {
            answer.expect("each has its turn");
        }
        assert_eq!(backend.take_requests(), [0, 3, 1, 2], "of calls: {of_calls}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_stage_reads_the_cost_of_a_request_by_itself() {
    let stack = ReliabilityStack::builder()
        .rate_limit(HUNDRED)
        .pacing(Some(HUNDRED.cost(|tokens: &u32| *tokens)))
        .build()
        .expect("in range");
    let service = stack.layer(answers());
    service.clone().oneshot(30).await.expect("there are enough");
    let pacing = stack.pacing().expect("it is present");
    assert_eq!((stack.rate_limit().snapshot().tokens, pacing.snapshot().tokens), (Some(99), Some(70)));
    let never = ("pacing".to_owned(), Reason::CostTooHigh { cost: 101, most: 100 });
    assert_eq!(by(service.clone().oneshot(101).await), never);
    assert_eq!(by(service.oneshot(71).await), ("pacing".to_owned(), Reason::RateLimited));
}

#[tokio::test(start_paused = true)]
async fn a_limit_per_key_rejects_the_greedy_tenant_and_no_other() {
    let tenant = |n: &u32| *n % 10;
    let stack = ReliabilityStack::builder()
        .named("stock")
        .rate_limit(RateLimitConfig::per(2, HOUR).per_key(tenant))
        .concurrency_limit(ConcurrencyLimitConfig::new(1).queue(WaitQueueConfig::none()).per_key(tenant))
        .pacing(HUNDRED.cost(|n: &u32| *n).per_key(|_: &u32| "provider").max_keys(1))
        .build()
        .expect("in range");
    let backend = Answers::<u32>::new(|_: &u32| Step::answer(()).after(SECOND));
    let service = stack.layer(backend.clone());
    let calls = join_all([11, 21, 31, 12, 22].map(|n| service.clone().oneshot(n))).await;
    let end = |call: Result<(), _>| if call.is_ok() { String::new() } else { by(call).0 };
    let ends: Vec<_> = calls.into_iter().map(end).collect();
    let busy = |tenant| format!("stock.concurrency_limit:{tenant}");
    let greedy = "stock.rate_limit".to_owned();
    assert_eq!(ends, [String::new(), busy(1), greedy, String::new(), busy(2)]);
    assert_eq!((stack.rate_limit().snapshot().keys, stack.rate_limit().snapshot().rejected), (2, 1));
    let limit = stack.concurrency_limit();
    assert_eq!((limit.len(), limit.get(&1).expect("it has called").snapshot().in_flight), (2, 0));
    // 11 and 12 of a hundred.
    assert_eq!(by(service.clone().oneshot(93).await).0, "stock.pacing");
    service.oneshot(73).await.expect("there are enough");
}

#[tokio::test(start_paused = true)]
async fn a_stage_with_a_cost_or_per_key_may_be_none() {
    type Key = fn(&u32) -> u32;
    let stack = ReliabilityStack::builder()
        .rate_limit(None::<PerKey<Costed<Key>, u32, Key>>)
        .concurrency_limit(None::<PerKey<ConcurrencyLimitConfig, u32, Key>>)
        .pacing(None::<Costed<Key>>)
        .build()
        .expect("in range");
    assert!(stack.rate_limit().is_none() && stack.pacing().is_none() && stack.concurrency_limit().is_none());
    let service = stack.layer(Answers::<u32>::new(|_: &u32| Step::answer(()).after(SECOND)));
    let began = Instant::now();
    for answer in join_all((0..1_000).map(|n| service.clone().oneshot(n))).await {
        answer.expect("no stage limits it");
    }
    assert_eq!(began.elapsed(), SECOND);
}

#[test]
fn a_limit_that_does_not_go_with_its_stack_is_refused_by_both_names() {
    let patient = ONE.max_wait(2 * SECOND);
    let stack = ReliabilityStack::builder;
    let one = |_: &u32| 1;
    for (error, expected) in [
        (
            stack().timeout(SECOND).rate_limit(patient).build().err(),
            "rate_limit.queue.max_wait must be at most timeout",
        ),
        (
            stack().timeout(SECOND).pacing(patient).build().err(),
            "pacing.queue.max_wait must be at most timeout",
        ),
        (
            stack().retry(RetryConfig::new().max_elapsed(2 * SECOND)).pacing(patient).build().err(),
            "pacing.queue.max_wait must be below retry.max_elapsed",
        ),
        (
            stack().hedge(HedgeConfig::fixed(SECOND)).pacing(patient).build().err(),
            "pacing.queue.max_wait must be at most hedge.after.fixed",
        ),
        (stack().rate_limit(patient.per_key(one)).build().err(), "rate_limit.queue must be absent"),
        (stack().pacing(patient.cost(one).per_key(one)).build().err(), "pacing.queue must be absent"),
        (stack().pacing(ONE.burst(0)).build().err(), "pacing.burst must be 1 to 1000000"),
        (stack().rate_limit(ONE.max_wait(Duration::ZERO)).build().err(), "rate_limit.queue.max_wait must be"),
    ] {
        let error = error.expect(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let fitting = stack().timeout(3 * SECOND).rate_limit(patient).pacing(patient);
    assert!(fitting.hedge(HedgeConfig::fixed(2 * SECOND)).retry(RetryConfig::new()).build().is_ok());
    let learnt = stack().timeout(3 * SECOND).hedge(HedgeConfig::new().start(SECOND)).pacing(patient);
    assert!(learnt.build().is_ok());
}
