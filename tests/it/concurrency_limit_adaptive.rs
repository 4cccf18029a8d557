//! A limit that learns: which calls it learns from, how it moves under calls that wait, and its edges.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, http::Request as HttpRequest, routing::get};
use futures::{FutureExt, future::join_all};
use tokio::time::{advance, sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_reliability::{
    BoxError, Classifier, ErrorClass, Event, EventKind, Outcome, Reason, Rejected,
    concurrency_limit::{
        AdaptiveLimitConfig, ConcurrencyLimitConfig, ConcurrencyLimitHandle, ConcurrencyLimitLayer,
    },
    http,
    wait_queue::WaitQueueConfig,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const BASELINE: Duration = Duration::from_millis(20);

/// The time that the backend takes, and its outcome.
type Request = (Duration, Outcome);

fn adaptive(limit: u32) -> ConcurrencyLimitConfig {
    ConcurrencyLimitConfig::new(limit).adaptive(AdaptiveLimitConfig::new())
}

/// Every response carries its outcome.
fn by_outcome(result: Result<&Outcome, &BoxError>) -> Outcome {
    result.copied().unwrap_or(Outcome::Ignored)
}

fn layer(
    config: ConcurrencyLimitConfig,
) -> ConcurrencyLimitLayer<impl Classifier<Outcome, BoxError> + Clone> {
    config.build().expect("valid").classify(by_outcome)
}

fn backend() -> impl Service<Request, Response = Outcome, Error = BoxError, Future: Send> + Clone {
    service_fn(|(takes, outcome): Request| sleep(takes).map(move |()| Ok::<_, BoxError>(outcome)))
}

/// Sends rounds of calls, each round when the one before has ended.
async fn rounds<S>(service: &S, calls: u32, takes: Duration, outcome: Outcome, length: Duration)
where
    S: Service<Request, Response = Outcome, Error = BoxError> + Clone,
{
    let end = tokio::time::Instant::now() + length;
    while tokio::time::Instant::now() < end {
        join_all((0..calls).map(|_| service.clone().oneshot((takes, outcome)))).await;
        // Of calls that are rejected at once, too.
        sleep(MS).await;
    }
}

fn limit(handle: &ConcurrencyLimitHandle) -> u32 {
    handle.snapshot().limit
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_calls_need_grows_and_one_that_they_do_not_need_stays() {
    let layer = layer(adaptive(20));
    let (handle, service) = (layer.handle(), layer.layer(backend()));
    assert_eq!((limit(&handle), handle.snapshot().baseline), (20, None));
    rounds(&service, 5, BASELINE, Outcome::Success, 60 * SECOND).await;
    assert_eq!(limit(&handle), 20, "case 35: no growth while unused");
    rounds(&service, 40, BASELINE, Outcome::Success, 10 * SECOND).await;
    let snapshot = handle.snapshot();
    assert!((40..=100).contains(&snapshot.limit), "{snapshot:?}");
    assert!(snapshot.baseline.is_some_and(|it| (BASELINE..BASELINE + 2 * MS).contains(&it)), "{snapshot:?}");
    assert_eq!(snapshot.in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn slow_answers_timeouts_and_rate_limits_lower_the_limit_and_other_failures_do_not() {
    let class = |class| (BASELINE, Outcome::failure(class));
    for ((takes, outcome), falls) in [
        ((10 * BASELINE, Outcome::Success), true),
        ((10 * BASELINE, Outcome::DeadlineExceeded), true),
        ((10 * BASELINE, Outcome::failure(ErrorClass::Validation)), true),
        (class(ErrorClass::RateLimit), true),
        (class(ErrorClass::Timeout), true),
        (class(ErrorClass::Server), false),
        (class(ErrorClass::Connection), false),
        (class(ErrorClass::Authentication), false),
        ((MS, Outcome::failure(ErrorClass::Validation)), false),
        ((10 * BASELINE, Outcome::Ignored), false),
        ((MS, Outcome::DeadlineExceeded), false),
    ] {
        let layer = layer(adaptive(40).adaptive(AdaptiveLimitConfig::new().floor(4).ceiling(40)));
        let (handle, service) = (layer.handle(), layer.layer(backend()));
        rounds(&service, 40, BASELINE, Outcome::Success, 2 * SECOND).await;
        assert_eq!(limit(&handle), 40);
        rounds(&service, 40, takes, outcome, 3 * SECOND).await;
        let (lower, baseline) = (limit(&handle), handle.snapshot().baseline.expect("it is known"));
        assert_eq!(lower < 30, falls, "{lower} after {outcome:?} of {takes:?}");
        assert!(baseline >= BASELINE, "{baseline:?} after {outcome:?} of {takes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_without_a_class_is_no_fast_answer() {
    let layer = adaptive(20).build().expect("valid");
    let inner = service_fn(|()| async { Err::<(), BoxError>("refused".into()) });
    let mut service = layer.layer(inner);
    for _ in 0..1_000 {
        service.ready().await.expect("ready").call(()).await.expect_err("it is refused");
        advance(MS).await;
    }
    assert_eq!(layer.handle().snapshot().baseline, None);
}

#[tokio::test(start_paused = true)]
async fn case_65_calls_that_are_cut_late_lower_the_limit_and_hasty_ones_do_not() {
    for (patience, falls) in [(MS, false), (300 * MS, true)] {
        let layer = layer(adaptive(40).queue(WaitQueueConfig::none()));
        let (handle, service) = (layer.handle(), layer.layer(backend()));
        rounds(&service, 40, BASELINE, Outcome::Success, 2 * SECOND).await;
        let before = limit(&handle);
        for _ in 0..3_000 / patience.as_millis().max(10) {
            let calls = (0..before).map(|_| service.clone().oneshot((60 * SECOND, Outcome::Success)));
            join_all(calls.map(|call| timeout(patience, call))).await;
        }
        let after = limit(&handle);
        assert_eq!(after < before * 3 / 4, falls, "{before} -> {after} with {patience:?}");
        assert_eq!(handle.snapshot().in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_dropped_before_their_first_poll_teach_nothing() {
    let layer = layer(adaptive(40).queue(WaitQueueConfig::none()));
    let (handle, mut service) = (layer.handle(), layer.layer(backend()));
    rounds(&service, 40, BASELINE, Outcome::Success, 2 * SECOND).await;
    let before = limit(&handle);
    for _ in 0..10 {
        let mut calls = Vec::new();
        for _ in 0..before {
            calls.push(service.ready().await.expect("ready").call((BASELINE, Outcome::Success)));
        }
        advance(300 * MS).await;
        drop(calls);
    }
    assert_eq!(limit(&handle), before);
}

#[tokio::test(start_paused = true)]
async fn case_07_a_measured_call_that_is_dropped_or_panics_returns_its_permit() {
    let layer = adaptive(1).queue(WaitQueueConfig::none()).build().expect("valid");
    let handle = layer.handle();
    let inner = service_fn(|panics: bool| async move {
        assert!(!panics, "as asked");
        sleep(SECOND).await;
        Ok::<_, BoxError>(())
    });
    let mut service = layer.layer(inner);
    for _ in 0..100 {
        drop(service.call(false));
        advance(SECOND).await;
        assert!(
            AssertUnwindSafe(service.ready().await.expect("ready").call(true)).catch_unwind().await.is_err()
        );
        assert!(timeout(MS, service.call(false)).await.is_err());
        assert_eq!(handle.snapshot().in_flight, 0);
    }
    assert_eq!(handle.snapshot().baseline, None, "no backend answered");
}

#[tokio::test(start_paused = true)]
async fn case_64_a_limit_that_grows_serves_waiting_calls_and_one_that_falls_over_admits_none() {
    let most = Arc::new(Mutex::new((0, 0)));
    let inner = {
        let most = Arc::clone(&most);
        service_fn(move |(takes, outcome): Request| {
            let most = Arc::clone(&most);
            async move {
                {
                    let (now, peak) = &mut *most.lock().expect("no panic");
                    *now += 1;
                    *peak = (*peak).max(*now);
                }
                sleep(takes).await;
                most.lock().expect("no panic").0 -= 1;
                Ok::<_, BoxError>(outcome)
            }
        })
    };
    let queue = WaitQueueConfig::new().capacity(10_000).max_wait(60 * SECOND).without_shedding();
    let layer = layer(adaptive(10).queue(queue));
    let (handle, service) = (layer.handle(), layer.layer(inner));
    let calls = (0..5_000).map(|_| tokio::spawn(service.clone().oneshot((BASELINE, Outcome::Success))));
    for call in calls.collect::<Vec<_>>() {
        call.await.expect("no panic").expect("it is served");
    }
    let grown = limit(&handle);
    let peak = std::mem::take(&mut most.lock().expect("no panic").1);
    assert!(grown >= 30 && peak >= 20 && peak <= grown + 10, "{peak} of {grown}");
    rounds(&service, grown, 10 * BASELINE, Outcome::Success, 3 * SECOND).await;
    most.lock().expect("no panic").1 = 0;
    let fallen = limit(&handle);
    rounds(&service, grown, 10 * BASELINE, Outcome::Success, 100 * MS).await;
    let peak = most.lock().expect("no panic").1;
    assert!(fallen < grown && peak <= limit(&handle).max(fallen), "{peak} of {fallen}");
    assert_eq!((handle.snapshot().in_flight, handle.snapshot().waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_shadow_learns_and_holds_no_call_up() {
    let layer = layer(adaptive(10).shadow(true).queue(WaitQueueConfig::none()));
    let (handle, service) = (layer.handle(), layer.layer(backend()));
    rounds(&service, 40, BASELINE, Outcome::Success, 10 * SECOND).await;
    let grown = handle.snapshot();
    assert!(grown.limit > 40 && grown.counts.would_wait > 0 && grown.counts.limited == 0, "{grown:?}");
    rounds(&service, grown.limit, 10 * BASELINE, Outcome::Success, 5 * SECOND).await;
    let fallen = handle.snapshot();
    assert!(fallen.limit < grown.limit / 2 && fallen.counts.limited == 0, "{fallen:?}");
}

#[tokio::test(start_paused = true)]
async fn an_update_keeps_what_was_learnt_and_a_fixed_limit_takes_its_place() {
    let layer = layer(adaptive(20));
    let (handle, service) = (layer.handle(), layer.layer(backend()));
    rounds(&service, 60, BASELINE, Outcome::Success, 10 * SECOND).await;
    let learnt = handle.snapshot();
    assert!(learnt.limit >= 50, "{learnt:?}");
    handle.update(adaptive(5)).expect("valid");
    assert_eq!((limit(&handle), handle.snapshot().baseline), (learnt.limit, learnt.baseline));
    handle.update(adaptive(5).adaptive(AdaptiveLimitConfig::new().ceiling(30))).expect("valid");
    assert_eq!(limit(&handle), 30);
    handle.update(ConcurrencyLimitConfig::new(7)).expect("valid");
    assert_eq!((limit(&handle), handle.snapshot().baseline), (7, None));
    rounds(&service, 20, BASELINE, Outcome::Success, SECOND).await;
    assert_eq!(limit(&handle), 7);
    handle.update(adaptive(9)).expect("valid");
    assert_eq!(limit(&handle), 9);
    let error =
        handle.update(adaptive(9).adaptive(AdaptiveLimitConfig::new().floor(10))).expect_err("too high");
    assert_eq!(error.to_string(), "adaptive.floor must be 1 to limit");
}

#[tokio::test(start_paused = true)]
async fn a_listener_hears_of_large_changes_and_a_rejection_names_the_limit_in_force() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = {
        let heard = Arc::clone(&heard);
        move |event: &Event| {
            if let EventKind::LimitChanged { .. } = event.kind {
                heard.lock().expect("no panic").push(event.to_string());
            }
        }
    };
    let layer = layer(adaptive(40).queue(WaitQueueConfig::none())).named("prices").listen(listener);
    let (handle, service) = (layer.handle(), layer.layer(backend()));
    rounds(&service, 40, BASELINE, Outcome::Success, 2 * SECOND).await;
    rounds(&service, 40, 20 * BASELINE, Outcome::Success, 5 * SECOND).await;
    let heard = heard.lock().expect("no panic").clone();
    assert!((1..=6).contains(&heard.len()), "{heard:?}");
    assert!(heard[0].starts_with("prices: concurrency limit "), "{heard:?}");
    let current = limit(&handle);
    let held: Vec<_> =
        (0..current).map(|_| tokio::spawn(service.clone().oneshot((SECOND, Outcome::Success)))).collect();
    tokio::task::yield_now().await;
    let error = service.clone().oneshot((MS, Outcome::Success)).await.expect_err("no permit is free");
    let reason = error.downcast_ref::<Rejected>().expect("by the limit").reason();
    assert_eq!(reason, Reason::ConcurrencyLimited { limit: current });
    join_all(held).await;
}

#[tokio::test(start_paused = true)]
async fn each_key_learns_a_limit_of_its_own() {
    let keyed = layer(adaptive(20)).keyed(|(takes, _): &Request| takes.as_millis());
    let (handle, service) = (keyed.handle(), keyed.layer(backend()));
    rounds(&service, 40, BASELINE, Outcome::Success, 10 * SECOND).await;
    rounds(&service, 5, 5 * BASELINE, Outcome::Success, 10 * SECOND).await;
    let of = |key: u128| handle.get(&key).expect("it has a limit").snapshot();
    assert!(of(20).limit >= 40, "{:?}", of(20));
    assert_eq!(of(100).limit, 20);
    assert!(of(100).baseline > of(20).baseline);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_answers_nothing_during_a_probe_does_not_keep_the_limit_halved() {
    let layer = layer(adaptive(40).queue(WaitQueueConfig::none()));
    let (handle, service) = (layer.handle(), layer.layer(backend()));
    let calls = rounds(&service, 40, BASELINE, Outcome::Success, 60 * SECOND);
    let probe = async {
        while limit(&handle) > 30 {
            sleep(MS).await;
        }
    };
    tokio::select! { biased; () = probe => {}, () = calls => panic!("no probe") }
    let hung: Vec<_> =
        (0..40).map(|_| tokio::spawn(service.clone().oneshot((60 * SECOND, Outcome::Success)))).collect();
    sleep(2 * SECOND).await;
    // A call that finds no permit ends the probe, and takes one of those that it frees.
    assert!(
        timeout(SECOND, service.clone().oneshot((MS, Outcome::Success))).await.is_ok_and(|it| it.is_ok())
    );
    assert!(limit(&handle) >= 40, "{}", limit(&handle));
    hung.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_handlers_time_out_lowers_its_limit() {
    let server = http::server().concurrency_limit(adaptive(40)).timeout(SECOND).build().expect("valid");
    let (handle, takes) = (server.concurrency_limit(), Arc::new(AtomicU32::new(20)));
    let handler = {
        let takes = Arc::clone(&takes);
        move || sleep(MS * takes.load(Ordering::Relaxed))
    };
    let app = Router::new().route("/", get(handler)).layer(server);
    let request = || HttpRequest::get("/").body(Body::empty()).expect("valid");
    let round = || join_all((0..40).map(|_| app.clone().oneshot(request())));
    for _ in 0..100 {
        round().await;
    }
    let before = limit(&handle);
    assert!(before >= 40, "{before}");
    takes.store(60_000, Ordering::Relaxed);
    for _ in 0..10 {
        round().await;
    }
    assert!(limit(&handle) < before / 2, "{before} -> {}", limit(&handle));
    assert_eq!(handle.snapshot().in_flight, 0);
}

#[test]
fn the_standard_stack_has_an_adaptive_limit_per_host() {
    let stack = http::standard().build().expect("valid");
    let limits = stack.concurrency_limit();
    assert!(limits.is_empty());
    assert_eq!(limits.config().limit(), 10_000);
    let fixed = http::standard().concurrency_limit(ConcurrencyLimitConfig::new(7)).build().expect("valid");
    assert_eq!(fixed.concurrency_limit().snapshot().limit, 7);
    assert!(http::standard().concurrency_limit(None::<ConcurrencyLimitConfig>).build().is_ok());
}
