//! A limit on the rate of calls: which calls pass, and when a rejected call may come again.

use std::{
    cell::Cell,
    future::{Future, Pending, Ready, pending, ready},
    marker::PhantomPinned,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_reliability::{
    BoxError, Event, Outcome, Reason, Rejected,
    rate_limit::{RateLimit, RateLimitConfig, RateLimitLayer, future::ResponseFuture},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Answers each request with itself.
fn backend() -> impl Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone {
    service_fn(|it: u32| ready(Ok::<_, BoxError>(it)))
}

fn rejected(result: Result<u32, BoxError>) -> Rejected {
    let error = result.expect_err("it is rejected");
    error.downcast_ref::<Rejected>().expect("by the limit").clone()
}

async fn call<P, D, K>(layer: &RateLimitLayer<P, D, K>, request: u32) -> Result<u32, Rejected>
where
    P: Clone + tower_reliability::PrioritySource<u32>,
    D: Clone + tower_reliability::DeadlineSource<u32>,
    K: Clone + tower_reliability::rate_limit::CostSource<u32>,
{
    match layer.layer(backend()).oneshot(request).await {
        Ok(answer) => Ok(answer),
        result => Err(rejected(result)),
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_passes_and_then_the_rate_and_a_rejection_names_the_exact_time() {
    let layer = RateLimitConfig::per_second(10).burst(3).build().expect("valid");
    for _ in 0..3 {
        call(&layer, 1).await.expect("within the burst");
    }
    advance(Duration::from_millis(30)).await;
    let refused = call(&layer, 1).await.expect_err("beyond the burst");
    assert_eq!(
        (refused.reason(), refused.retry_after()),
        (Reason::RateLimited, Some(Duration::from_millis(70)))
    );
    assert_eq!(refused.to_string(), "rate_limit: rate limit reached, retry after 70ms");
    assert_eq!(refused.outcome(), Outcome::EndpointUnavailable);
    // Case 33: a caller that comes at the time passes, and not a nanosecond before.
    advance(Duration::from_nanos(69_999_999)).await;
    assert!(call(&layer, 1).await.is_err());
    advance(Duration::from_nanos(1)).await;
    call(&layer, 1).await.expect("as promised");
    let snapshot = layer.handle().snapshot();
    assert_eq!((snapshot.tokens, snapshot.counts.limited, snapshot.counts.rejected_full), (Some(0), 2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_bucket_and_a_window_hold_together() {
    let layer = RateLimitConfig::per_second(100).burst(20).window(50, HOUR).build().expect("valid");
    let begin = tokio::time::Instant::now();
    let mut passed = 0;
    while passed < 50 {
        match call(&layer, 1).await {
            Ok(_) => passed += 1,
            Err(refused) => advance(refused.retry_after().expect("a time")).await,
        }
    }
    // The burst at once, and the others at the rate.
    assert_eq!(begin.elapsed(), Duration::from_millis(300));
    let snapshot = layer.handle().snapshot();
    assert_eq!((snapshot.tokens, snapshot.left_in_window), (Some(0), Some(0)));
    let refused = call(&layer, 1).await.expect_err("the hour is used up");
    assert_eq!(refused.retry_after(), Some(HOUR.checked_sub(begin.elapsed()).expect("less")));
    tokio::time::sleep_until(begin + HOUR).await;
    for _ in 0..20 {
        call(&layer, 1).await.expect("the first twenty have left the window");
    }
    assert!(call(&layer, 1).await.is_err());
    // A call that the window refuses takes no token.
    advance(Duration::from_millis(5)).await;
    for _ in 0..100 {
        assert!(call(&layer, 1).await.is_err());
    }
    assert_eq!(layer.handle().snapshot().tokens, Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_request_takes_as_many_tokens_as_it_costs() {
    let layer = RateLimitConfig::per_second(10).build().expect("valid").cost(|cost: &u32| *cost);
    call(&layer, 7).await.expect("within the burst");
    assert_eq!(layer.handle().snapshot().tokens, Some(3));
    let refused = call(&layer, 5).await.expect_err("too few tokens");
    assert_eq!(refused.retry_after(), Some(Duration::from_millis(200)));
    call(&layer, 0).await.expect("it costs nothing");
    let never = call(&layer, 11).await.expect_err("above the burst");
    assert_eq!((never.reason(), never.retry_after()), (Reason::CostTooHigh { cost: 11, most: 10 }, None));
    assert_eq!(never.outcome(), Outcome::Ignored);
    assert!(call(&layer, u32::MAX).await.is_err());
    let layer = RateLimitConfig::per_second(10).window(4, SECOND).build().expect("valid");
    let never = call(&layer.cost(|cost: &u32| *cost), 5).await.expect_err("above the window");
    assert_eq!(never.reason(), Reason::CostTooHigh { cost: 5, most: 4 });
}

/// Never more than rate × t + burst, in any span, whatever the threads do and the clock says.
#[test]
fn case_28_64_threads_never_take_more_than_rate_and_burst() {
    const BURST: usize = 50;
    for window in [None, Some(60)] {
        let mut config = RateLimitConfig::per_second(2_000).burst(50);
        if let Some(calls) = window {
            config = config.window(calls, Duration::from_millis(20));
        }
        let layer = config.build().expect("valid");
        let passed = Mutex::new(Vec::new());
        let begin = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    let mut service = layer.layer(backend());
                    while begin.elapsed() < Duration::from_millis(150) {
                        let before = begin.elapsed();
                        if spawn(service.call(1)).poll().map(|it| it.is_ok()) == Poll::Ready(true) {
                            passed.lock().expect("no panic").push((before, begin.elapsed()));
                        }
                        std::thread::yield_now();
                    }
                });
            }
        });
        let mut passed = passed.into_inner().expect("no panic");
        assert!(passed.len() > BURST, "{}", passed.len());
        // The calls that began after `from` and had passed by `to`.
        passed.sort_unstable();
        for from in [0, 10, 40, 90].map(Duration::from_millis) {
            for length in [1, 5, 20, 50].map(Duration::from_millis) {
                let within = passed.iter().filter(|(begin, end)| *begin >= from && *end < from + length);
                let most = BURST + usize::try_from(length.as_millis()).expect("small") * 2;
                let most = if window.is_some() && length.as_millis() <= 20 { most.min(60) } else { most };
                let within = within.count();
                assert!(within <= most, "{within} of {most} in {from:?} + {length:?}, window {window:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn case_24_a_jump_of_years_fills_the_bucket_and_no_more() {
    let layer = RateLimitConfig::per_second(10).burst(3).window(5, HOUR).build().expect("valid");
    for _ in 0..2 {
        for _ in 0..3 {
            call(&layer, 1).await.expect("within the burst");
        }
        assert!(call(&layer, 1).await.is_err());
        advance(Duration::from_secs(365 * 24 * 60 * 60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn case_21_the_extremes_that_are_allowed_do_no_harm() {
    for config in [
        RateLimitConfig::per_second(1_000_000).burst(1_000_000),
        RateLimitConfig::per(1, HOUR).burst(1_000_000),
        RateLimitConfig::per(1, HOUR).burst(1).window(1, Duration::from_secs(31 * 24 * 60 * 60)),
        RateLimitConfig::sliding_window(1_000_000_000, Duration::from_millis(1)),
        RateLimitConfig::per_second(1).max_wait(24 * HOUR),
    ] {
        let layer = config.build().expect("valid").cost(|cost: &u32| *cost);
        call(&layer, 1).await.expect("the first call");
        let never = call(&layer, u32::MAX).await.expect_err("above every limit");
        assert!(matches!(never.reason(), Reason::CostTooHigh { .. }), "{never}");
        let _snapshot = layer.handle().snapshot();
    }
    assert_eq!(RateLimitConfig::per_second(0).build().map_err(|it| it.field()).err(), Some("per_second"));
}

#[tokio::test(start_paused = true)]
async fn case_01_and_04_readiness_takes_no_token() {
    let layer = RateLimitConfig::per_second(1).max_wait(2 * SECOND).build().expect("valid");
    let mut clones = vec![layer.layer(backend()); 2];
    for service in &mut clones {
        service.ready().await.expect("ready");
        service.ready().await.expect("ready");
    }
    assert_eq!(layer.handle().snapshot().tokens, Some(1));
    // Case 3: a call without readiness is limited as any other.
    call(&layer, 1).await.expect("the token is there");
    assert_eq!(clones[0].call(2).await.expect("it waited"), 2);
}

/// Never ready, and counts how often it is asked.
#[derive(Clone, Debug, Default)]
struct NeverReady(Arc<AtomicUsize>);

impl Service<u32> for NeverReady {
    type Response = u32;
    type Error = BoxError;
    type Future = Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Poll::Pending
    }

    fn call(&mut self, _: u32) -> Self::Future {
        panic!("it is not ready")
    }
}

#[tokio::test(start_paused = true)]
async fn case_10_a_call_that_will_be_rejected_does_not_wait_for_the_inner_service() {
    let layer = RateLimitConfig::per_second(1).build().expect("valid");
    let mut service = layer.layer(NeverReady::default());
    assert_pending!(spawn(service.ready()).poll());
    call(&layer, 1).await.expect("the token is there");
    assert!(assert_ready!(spawn(service.ready()).poll()).is_ok());
    assert_eq!(rejected(service.call(1).await).reason(), Reason::RateLimited);
}

#[tokio::test(start_paused = true)]
async fn case_07_a_call_dropped_while_the_inner_service_is_not_ready_returns_its_tokens() {
    for config in [RateLimitConfig::per_second(5), RateLimitConfig::per_second(5).window(5, HOUR)] {
        let layer = config.build().expect("valid").cost(|cost: &u32| *cost);
        let mut service = layer.layer(NeverReady::default());
        // Before the first poll, and after it.
        let call = service.call(3);
        assert_eq!(layer.handle().snapshot().tokens, Some(2));
        drop(call);
        let mut call = spawn(service.call(2));
        assert_pending!(call.poll());
        assert_eq!(layer.handle().snapshot().tokens, Some(3));
        drop(call);
        let snapshot = layer.handle().snapshot();
        assert_eq!(snapshot.tokens, Some(5));
        assert!(snapshot.left_in_window.is_none_or(|left| left == 5));
    }
}

/// Ready once it is open.
#[derive(Clone, Default)]
struct Gate(Arc<AtomicBool>);

impl Service<u32> for Gate {
    type Response = u32;
    type Error = BoxError;
    type Future = Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.0.load(Ordering::Relaxed) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, it: u32) -> Self::Future {
        ready(Ok(it))
    }
}

#[tokio::test(start_paused = true)]
async fn case_28_calls_that_wait_for_the_inner_service_collect_no_burst() {
    let bucket = RateLimitConfig::per_second(10).burst(2);
    for config in [bucket, RateLimitConfig::sliding_window(2, SECOND / 5)] {
        let (gate, layer) = (Gate::default(), config.build().expect("valid"));
        let mut service = layer.layer(gate.clone());
        let mut waiting = Vec::new();
        for id in 0..50 {
            let mut call = spawn(service.call(id));
            assert_pending!(call.poll());
            waiting.push(call);
            advance(SECOND / 10).await;
        }
        gate.0.store(true, Ordering::Relaxed);
        let mut passed = 0;
        for call in waiting {
            passed += u32::from(service.call(100).await.is_ok());
            drop(call);
        }
        assert!((1..=2).contains(&passed), "{passed} at once, with {config:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn case_08_a_panic_in_a_call_or_a_source_locks_nothing() {
    let layer = RateLimitConfig::per_second(1).build().expect("valid");
    let at_call = service_fn(|_: u32| -> Ready<Result<u32, BoxError>> { panic!("at the call") });
    let panics = |call: &mut dyn FnMut()| assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    panics(&mut || drop(spawn(layer.layer(at_call).call(1)).poll()));
    let source = layer.clone().cost(|_: &u32| -> u32 { panic!("in the source") });
    panics(&mut || drop(spawn(source.layer(backend()).call(1)).poll()));
    assert!(call(&layer, 1).await.is_err(), "a call that reached the service has spent its token");
    advance(SECOND).await;
    call(&layer, 1).await.expect("a second later");
}

#[tokio::test(start_paused = true)]
async fn case_23_all_services_of_a_layer_share_one_limit() {
    let layer = RateLimitConfig::per_second(1).build().expect("valid");
    call(&layer.clone(), 1).await.expect("the only token");
    assert!(call(&layer, 1).await.is_err());
    let isolated = layer.isolated().named("own");
    call(&isolated, 1).await.expect("a limit of its own");
    assert_eq!(call(&isolated, 1).await.expect_err("used up").layer().as_str(), "own");
}

#[tokio::test(start_paused = true)]
async fn a_shadow_rejects_no_call_and_counts_the_calls_that_it_would_have_limited() {
    let config = RateLimitConfig::per_second(2);
    let layer = config.shadow(true).build().expect("valid").cost(|cost: &u32| *cost);
    for cost in [1, 1, 1, 7] {
        call(&layer, cost).await.expect("a shadow lets it pass");
    }
    let counts = layer.handle().snapshot().counts;
    assert_eq!((counts.would_limit, counts.limited), (2, 0));
    layer.handle().update(config).expect("valid");
    assert!(call(&layer, 1).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn case_64_a_new_rate_holds_at_once_without_a_burst_or_a_stall() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    let layer =
        RateLimitConfig::per(1, HOUR).burst(10).build().expect("valid").listen(move |event: &Event| {
            heard.lock().expect("no panic").push(event.kind.as_str());
        });
    for _ in 0..10 {
        call(&layer, 1).await.expect("within the burst");
    }
    let handle = layer.handle();
    handle.update(RateLimitConfig::per_second(10).burst(10)).expect("valid");
    let refused = call(&layer, 1).await.expect_err("no burst");
    assert_eq!(refused.retry_after(), Some(Duration::from_millis(100)), "and no stall");
    // The window begins with the update, and ends with another.
    handle.update(RateLimitConfig::per_second(10).burst(10).window(1, HOUR)).expect("valid");
    advance(SECOND).await;
    call(&layer, 1).await.expect("the window is empty");
    assert!(call(&layer, 1).await.is_err());
    handle.update(RateLimitConfig::per_second(10).burst(5)).expect("valid");
    assert_eq!(handle.snapshot().tokens, Some(4));
    assert_eq!(handle.update(RateLimitConfig::per_second(0)).map_err(|it| it.field()), Err("per_second"));
    assert_eq!(handle.config(), RateLimitConfig::per_second(10).burst(5));
    let heard = events.lock().expect("no panic");
    assert_eq!(*heard, ["reconfigured", "rejected", "reconfigured", "rejected", "reconfigured"]);
}

#[test]
fn a_call_with_a_token_needs_no_runtime() {
    let layer = RateLimitConfig::per_second(1).build().expect("valid");
    let mut service = layer.layer(backend());
    for passes in [true, false] {
        assert_eq!(assert_ready!(spawn(service.call(1)).poll()).is_ok(), passes);
    }
}

/// Neither `Sync` nor with a future that is `Unpin`.
#[derive(Clone)]
struct Awkward(Cell<u32>);

struct AwkwardFuture(#[allow(dead_code, reason = "makes it not `Unpin`")] PhantomPinned);

impl Future for AwkwardFuture {
    type Output = Result<u32, BoxError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(7))
    }
}

impl Service<u32> for Awkward {
    type Response = u32;
    type Error = BoxError;
    type Future = AwkwardFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u32) -> Self::Future {
        self.0.set(self.0.get() + 1);
        AwkwardFuture(PhantomPinned)
    }
}

/// Not `Send`.
#[derive(Clone)]
struct Local(#[allow(dead_code, reason = "makes it not `Send`")] Rc<()>);

impl Service<u32> for Local {
    type Response = u32;
    type Error = BoxError;
    type Future = Pending<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Pending
    }

    fn call(&mut self, _: u32) -> Self::Future {
        pending()
    }
}

#[tokio::test(start_paused = true)]
async fn case_12_awkward_services_are_welcome() {
    let layer = RateLimitConfig::per_second(1).build().expect("valid");
    let mut service = layer.layer(Awkward(Cell::new(0)));
    service.ready().await.expect("ready").call(1).await.expect("answered");
    assert_eq!(service.into_inner().0.get(), 1);
}

#[test]
fn case_12_a_limited_service_is_send_exactly_when_the_inner_service_is() {
    macro_rules! holds {
        ($bound:ident for $type:ty) => {{
            #[allow(dead_code, reason = "taken only where the bound does not hold")]
            trait Otherwise {
                const HOLDS: bool = false;
            }
            impl<T> Otherwise for T {}
            struct Probe<T>(std::marker::PhantomData<T>);
            #[allow(dead_code, reason = "taken only where the bound holds")]
            impl<T: $bound> Probe<T> {
                const HOLDS: bool = true;
            }
            <Probe<$type>>::HOLDS
        }};
    }
    assert!(holds!(Send for RateLimit<Awkward>) && !holds!(Sync for RateLimit<Awkward>));
    assert!(holds!(Sync for RateLimit<NeverReady>) && !holds!(Send for RateLimit<Local>));
    assert!(holds!(Send for ResponseFuture<Awkward, u32>) && !holds!(Send for ResponseFuture<Local, u32>));
}
