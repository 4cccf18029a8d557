//! What tower, and a caller, may expect of the circuit breaker.

use std::{
    error::Error as _,
    future::{Future, Pending, pending, poll_fn},
    marker::PhantomPinned,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::join_all;
use tokio::time::{Instant, advance, timeout};
use tokio_test::task::spawn;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer};
use tower_reliability::{
    CircuitState, Error, ErrorClass, Reason, Rejected, Trip,
    circuit_breaker::{CircuitBreaker, CircuitBreakerConfig, Window, future::ResponseFuture},
};

use crate::scripted::{Act, Answer, Answered, Backend, Bench, ByPeer, Guarded, Peer, backend, rejected};

const CONFIG: CircuitBreakerConfig =
    CircuitBreakerConfig::consecutive(1).open_for(Duration::from_secs(5)).open_jitter(0.0);

/// Polls a service's readiness once.
fn readiness<S: Service<Act>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(futures::task::noop_waker_ref()))
}

fn is_ready<S: Service<Act>>(service: &mut S) -> bool {
    matches!(readiness(service), Poll::Ready(Ok(())))
}

#[tokio::test(start_paused = true)]
async fn case_01_being_ready_twice_takes_one_place_and_dropping_gives_it_back() {
    let mut bench = Bench::waiting(CONFIG.half_open_probes(1).half_open_successes(1));
    bench.half_open_by_waiting().await;
    let mut other = bench.service.clone();
    assert!(is_ready(&mut bench.service) && is_ready(&mut bench.service));
    assert!(!is_ready(&mut other), "the one place is taken");
    drop(std::mem::replace(&mut bench.service, other.clone()));
    assert!(is_ready(&mut other), "and given back");
    other.call(Act::GOOD).await.expect("it passes");
    assert_eq!(bench.handle.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn case_03_a_call_without_readiness_is_admitted_and_counted_like_any_other() {
    let mut bench = Bench::new(CONFIG);
    let _ = bench.service.call(Act::BAD).await;
    assert!(rejected(&bench.service.call(Act::GOOD).await).is_some());
    let counts = bench.handle.snapshot().counts;
    assert_eq!((counts.failures, counts.rejected, bench.backend.calls()), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn case_04_a_service_that_was_ready_while_half_open_is_not_rejected() {
    let bench = Bench::waiting(CONFIG.half_open_probes(3).half_open_successes(3));
    bench.half_open_by_waiting().await;
    for expected in [1, 2] {
        let mut clones = vec![bench.service.clone(); 10];
        let mut ready: Vec<Guarded> =
            clones.drain(..).filter_map(|mut one| is_ready(&mut one).then_some(one)).collect();
        assert_eq!(ready.len(), expected);
        for service in &mut ready {
            service.call(Act::GOOD).await.expect("ready is a promise");
        }
    }
    assert_eq!(bench.handle.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn case_05_an_idle_waiter_is_polled_a_handful_of_times_and_woken_at_expiry() {
    let mut bench = Bench::waiting(CONFIG);
    let _ = bench.call(Act::BAD).await;
    let (opened, mut polls) = (Instant::now(), 0);
    let mut waiting = |cx: &mut Context<'_>| {
        polls += 1;
        bench.service.poll_ready(cx)
    };
    let half_a_second = timeout(Duration::from_millis(500), poll_fn(&mut waiting)).await;
    assert!(half_a_second.is_err());
    poll_fn(&mut waiting).await.expect("ready");
    assert!(polls <= 6, "{polls} polls");
    assert_eq!(opened.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn case_05_a_waiter_hears_of_a_reset_and_of_a_place_that_came_back() {
    let bench = Bench::waiting(CONFIG.half_open_probes(1).half_open_successes(1));
    bench.handle.force_open();
    let mut service = bench.service.clone();
    let mut waiting = spawn(poll_fn(move |cx| service.poll_ready(cx)));
    assert!(waiting.poll().is_pending());
    bench.handle.reset();
    assert!(waiting.is_woken() && waiting.poll().is_ready());

    bench.half_open_by_waiting().await;
    let mut holder = bench.service.clone();
    assert!(is_ready(&mut holder));
    let mut service = bench.service.clone();
    let mut waiting = spawn(poll_fn(move |cx| service.poll_ready(cx)));
    assert!(waiting.poll().is_pending() && !waiting.is_woken());
    drop(holder);
    assert!(waiting.is_woken() && waiting.poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn case_09_a_caller_that_waits_for_the_circuit_does_not_pin_the_inner_service() {
    let backend = backend();
    let layer = CONFIG.build().expect("valid").classify(ByPeer).wait_while_open();
    let stack = ServiceBuilder::new().layer(layer.clone()).layer(ConcurrencyLimitLayer::new(1));
    let mut waiter = stack.service(backend);
    let mut below = waiter.get_ref().clone();
    layer.handle().force_open();
    assert!(!is_ready(&mut waiter));
    assert!(is_ready(&mut below), "its one permit is free");
}

/// Never ready.
#[derive(Clone)]
struct Stuck;

impl Service<Act> for Stuck {
    type Response = ();
    type Error = Error<Peer>;
    type Future = Pending<Answered>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Answered> {
        Poll::Pending
    }

    fn call(&mut self, _: Act) -> Self::Future {
        pending()
    }
}

#[tokio::test(start_paused = true)]
async fn case_10_a_call_that_will_be_rejected_does_not_wait_for_the_inner_service() {
    let layer = CONFIG.build().expect("valid").classify(ByPeer);
    layer.handle().force_open();
    let answer = layer.layer(Stuck).oneshot(Act::GOOD).await;
    assert_eq!(rejected(&answer).map(Rejected::reason), Some(Reason::CircuitOpen(Trip::ByHand)));
    layer.handle().reset();
    assert!(!is_ready(&mut layer.layer(Stuck)));
}

/// Neither `Clone` nor `Sync`, with a future that is not `Unpin`.
struct Awkward(std::cell::Cell<u32>);

impl Service<Act> for Awkward {
    type Response = ();
    type Error = Error<Peer>;
    type Future = AwkwardFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Answered> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Act) -> Self::Future {
        self.0.set(self.0.get() + 1);
        AwkwardFuture(PhantomPinned)
    }
}

struct AwkwardFuture(PhantomPinned);

impl Future for AwkwardFuture {
    type Output = Answered;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Answered> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn case_12_awkward_services_are_welcome() {
    let layer = CONFIG.build().expect("valid").classify(ByPeer);
    let mut service = layer.layer(Awkward(std::cell::Cell::new(0)));
    service.ready().await.expect("ready").call(Act::GOOD).await.expect("answered");
    assert_eq!(service.into_inner().0.get(), 1);
}

#[test]
fn case_12_it_is_send_and_sync_exactly_when_the_inner_service_is() {
    // Of two ways to call it, the inherent one wins where its bound holds.
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
    type Shell<S> = CircuitBreaker<S, ByPeer>;
    type Call<F> = ResponseFuture<F, ByPeer>;
    type Local = std::rc::Rc<()>;
    assert!(holds!(Send for Shell<Backend>) && holds!(Sync for Shell<Backend>));
    assert!(!holds!(Send for Shell<Local>) && !holds!(Sync for Shell<Local>));
    assert!(holds!(Send for Shell<Awkward>) && !holds!(Sync for Shell<Awkward>));
    assert!(holds!(Send for Call<AwkwardFuture>) && !holds!(Send for Call<std::future::Ready<Local>>));
    assert!(!holds!(Unpin for Call<AwkwardFuture>) && holds!(Unpin for Call<Pending<Answered>>));
}

#[tokio::test(start_paused = true)]
async fn case_18_of_ten_thousand_calls_at_the_end_of_the_open_period_only_the_probes_pass() {
    let bench = Bench::new(CONFIG.half_open_probes(3).half_open_successes(3));
    let _ = bench.call(Act::BAD).await;
    advance(Duration::from_secs(5)).await;
    let slow = Act::GOOD.after(Duration::from_millis(100));
    // One probe until the first has passed, and then the rest of them.
    for probes in [1, 2] {
        let before = bench.backend.calls();
        let answers = join_all((0..10_000).map(|_| bench.call(slow))).await;
        assert_eq!(bench.backend.calls() - before, probes);
        let rejections: Vec<&Rejected> = answers.iter().filter_map(rejected).collect();
        assert_eq!(rejections.len(), 10_000 - probes);
        assert!(
            rejections.iter().all(|one| one.reason() == Reason::ProbesTaken && one.retry_after().is_some())
        );
    }
    assert_eq!(bench.handle.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn case_21_the_extremes_that_are_allowed_do_no_harm() {
    let day = Duration::from_secs(24 * 60 * 60);
    let new = CircuitBreakerConfig::new;
    for config in [
        new().failure_rate(f64::MIN_POSITIVE).min_requests(1),
        new().window(Window::Calls(1)).min_requests(u32::MAX),
        new().window(Window::Calls(1_000_000)).consecutive_failures(u32::MAX),
        new().window(Window::Time(Duration::from_millis(10))),
        new().window(Window::Time(day)).slow_call(Duration::MAX, f64::MIN_POSITIVE),
        new().slow_call(Duration::from_nanos(1), 1.0).open_for(Duration::from_nanos(1)).min_requests(1),
        new().open_for(day).max_open_for(day).open_multiplier(100.0).open_jitter(1.0).min_requests(1),
        new().half_open_probes(1_000).half_open_successes(1_000).ramp(day).max_retry_after(day),
        new().probe_timeout(Duration::from_nanos(1)),
    ] {
        let bench = Bench::new(config);
        for act in [Act::GOOD, Act::BAD, Act::GOOD.after(Duration::from_millis(1))] {
            bench.calls(5, act).await;
            advance(Duration::from_secs(1)).await;
        }
        let counts = bench.handle.snapshot().counts;
        assert_eq!(counts.successes + counts.failures + counts.rejected, 15);
    }
}

#[tokio::test(start_paused = true)]
async fn case_23_one_layer_applied_twice_has_one_circuit() {
    let bench = Bench::new(CONFIG);
    let (first, second) =
        (bench.layer.layer(bench.backend.clone()), bench.layer.clone().layer(bench.backend.clone()));
    let _ = first.oneshot(Act::BAD).await;
    assert!(rejected(&second.oneshot(Act::GOOD).await).is_some());
    let isolated = bench.layer.clone().isolated().layer(bench.backend.clone());
    assert_eq!(isolated.oneshot(Act::GOOD).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn case_24_a_jump_of_years_is_survived() {
    let bench =
        Bench::new(CircuitBreakerConfig::new().min_requests(1).slow_call(Duration::from_secs(1), 1.0));
    let _ = bench.call(Act::BAD).await;
    advance(Duration::from_secs(20 * 365 * 24 * 60 * 60)).await;
    bench.calls(2, Act::GOOD).await;
    assert_eq!(bench.handle.state(), CircuitState::Closed);
    assert_eq!(bench.handle.snapshot().window_failures, 0);
}

#[test]
fn case_24_a_layer_used_under_a_clock_that_is_behind_opens_for_as_long_as_it_should() {
    // Each runtime has a paused clock of its own. The circuit was made under one that is far ahead.
    let bench = std::cell::OnceCell::new();
    let in_a_runtime = |ahead: Duration| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            advance(ahead).await;
            let bench = bench.get_or_init(|| Bench::new(CONFIG));
            bench.handle.reset();
            let _ = bench.call(Act::BAD).await;
            let answer = bench.call(Act::GOOD).await;
            assert_eq!(rejected(&answer).and_then(Rejected::retry_after), Some(Duration::from_secs(5)));
            advance(Duration::from_secs(5)).await;
            bench.call(Act::GOOD).await.expect("half-open");
        });
    };
    in_a_runtime(Duration::from_secs(1_000_000));
    in_a_runtime(Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn case_60_the_source_of_an_error_reaches_the_root() {
    let bench = Bench::new(CONFIG);
    let failed = bench.call(Act::BAD).await.expect_err("the backend failed");
    let peer = failed.source().and_then(|source| source.downcast_ref::<Peer>());
    assert_eq!(peer, Some(&Peer(Answer::Fail(ErrorClass::Server))));
    let turned_away = bench.call(Act::GOOD).await.expect_err("it is open");
    let source =
        turned_away.source().and_then(|source| source.downcast_ref::<Rejected>()).expect("a rejection");
    assert_eq!(
        (source.layer().as_str(), source.retry_after()),
        ("circuit_breaker", Some(Duration::from_secs(5)))
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_stood_ready_for_long_is_not_slow() {
    let config = CircuitBreakerConfig::new().slow_call(Duration::from_secs(1), 0.1);
    let mut bench = Bench::waiting(config);
    bench.service.ready().await.expect("closed");
    advance(Duration::from_secs(10)).await;
    bench.service.call(Act::GOOD).await.expect("answered");
    assert_eq!(bench.handle.snapshot().window_slow, 0);
}
