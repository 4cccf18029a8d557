//! Calls that would have to wait where no tokio runtime runs them, and calls whose runtime is gone. Each ends with a typed
//! rejection or with the failure at hand, and no layer panics.

use std::{
    convert::Infallible,
    future::{Future, pending, ready},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, executor, poll, stream};
use http_body_util::{BodyExt, StreamBody};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, timeout},
};
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneService};
use tower_reliability::{
    BoxError, BoxErrorClassifier, Deadline, ErrorClass, Event, EventKind, Outcome, Priority, Reason,
    Rejected, ReliabilityStack, classify_fn,
    concurrency_limit::ConcurrencyLimitConfig,
    drain::DrainConfig,
    hedge::HedgeConfig,
    http::{DeadlineBody, ReadTimeoutBody},
    rate_limit::RateLimitConfig,
    retry::{RetryConfig, Stop},
    timeout::TimeoutConfig,
    wait_queue::WaitQueueConfig,
};

const SECOND: Duration = Duration::from_secs(1);

type Boxed = BoxCloneService<(), (), BoxError>;

/// Never answers.
fn hanging() -> impl Service<(), Response = (), Error = BoxError, Future: Send> + Clone + Send + 'static {
    service_fn(|()| pending::<Result<(), BoxError>>())
}

/// A runtime with a clock of its own, which moves when it is idle.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

fn reason(error: &BoxError) -> Reason {
    error.downcast_ref::<Rejected>().expect("a rejection").reason()
}

#[test]
fn case_68_a_call_that_would_wait_outside_of_a_runtime_is_rejected() {
    let queue = WaitQueueConfig::new().max_wait(SECOND).without_shedding();
    let timeout = TimeoutConfig::new(SECOND).build().expect("valid");
    let rate = RateLimitConfig::per(1, SECOND).burst(1).max_wait(2 * SECOND).build().expect("valid");
    let concurrency = ConcurrencyLimitConfig::new(1).queue(queue).build().expect("valid");
    let stack = ReliabilityStack::builder().timeout(SECOND).classify(BoxErrorClassifier).flat_errors();
    let stack = stack.build().expect("valid");
    let (of_timeout, of_rate, of_concurrency) = (timeout.handle(), rate.handle(), concurrency.handle());
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = || {
        let told = Arc::clone(&told);
        move |event: &Event| {
            let EventKind::Rejected { reason, priority, .. } = event.kind else { panic!("{event}") };
            told.lock().expect("no panic").push((event.layer.to_string(), priority, reason));
        }
    };
    of_rate.listen(listener());
    of_concurrency.listen(listener());
    for (layer, service, takes) in [
        ("timeout", BoxCloneService::new(timeout.layer(hanging())), false),
        ("timeout", BoxCloneService::new(stack.layer(hanging())), false),
        ("rate_limit", BoxCloneService::new(rate.layer(hanging())), true),
        ("concurrency_limit", BoxCloneService::new(concurrency.layer(hanging())), true),
    ] {
        let mut service: Boxed = service;
        let holder = takes.then(|| service.call(()));
        let error = executor::block_on(service.call(())).expect_err("it would wait");
        assert_eq!(reason(&error), Reason::NoRuntime);
        let rejected = error.downcast_ref::<Rejected>().expect("a rejection");
        assert_eq!((rejected.layer().as_str(), rejected.outcome()), (layer, Outcome::Ignored));
        drop(holder);
    }
    assert_eq!(of_timeout.snapshot().timed_out, 0, "the backend is not to blame");
    assert_eq!((of_rate.snapshot().waiting, of_rate.snapshot().counts.cancelled), (0, 1));
    let concurrency = of_concurrency.snapshot();
    assert_eq!((concurrency.in_flight, concurrency.waiting, concurrency.counts.cancelled), (0, 0, 1));
    let rejected = ["rate_limit", "concurrency_limit"]
        .map(|layer| (layer.to_owned(), Priority::Normal, Reason::NoRuntime));
    assert_eq!(*told.lock().expect("no panic"), rejected);
}

#[test]
fn case_68_a_retry_that_would_wait_outside_of_a_runtime_returns_the_failure() {
    let failure = |result: Result<&(), &BoxError>| match result {
        Ok(()) => Outcome::Success,
        Err(_) => Outcome::failure(ErrorClass::Connection),
    };
    let retry = RetryConfig::fixed(SECOND).build().expect("valid").classify(classify_fn(failure));
    let service = retry.layer(service_fn(|()| ready(Err::<(), BoxError>("down".into()))));
    let error = executor::block_on(service.oneshot(())).expect_err("it fails");
    assert_eq!(error.to_string(), "down");
    let seen = retry.handle().snapshot();
    assert_eq!((seen.counts.failed, seen.counts.no_runtime, seen.budget.spent), (1, 1, 0));
    assert_eq!(seen.history[0].stop, Some(Stop::NoRuntime));
}

/// Pending once.
fn slow() -> impl Service<(), Response = (), Error = BoxError, Future: Send> + Clone {
    service_fn(|()| async {
        futures::pending!();
        Ok::<_, BoxError>(())
    })
}

#[test]
fn case_68_outside_of_a_runtime_the_first_attempt_of_a_hedge_goes_on_alone() {
    let hedge = HedgeConfig::fixed(SECOND).build().expect("valid").classify(BoxErrorClassifier);
    let mut call = Box::pin(hedge.layer(slow()).oneshot(()));
    let mut context = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut context).is_pending());
    assert!(matches!(call.as_mut().poll(&mut context), Poll::Ready(Ok(()))));
    assert_eq!(hedge.handle().snapshot().counts.won_by_primary, 1);
}

#[test]
fn case_68_a_drain_outside_of_a_runtime_does_not_wait() {
    let drain = DrainConfig::new().delay(SECOND).build().expect("valid");
    let (handle, mut service) = (drain.handle(), drain.layer(hanging()));
    let call = service.call(());
    let report = executor::block_on(handle.drain());
    assert_eq!((report.finished, report.left), (0, 1));
    let rejected = executor::block_on(service.call(())).expect_err("the gate is closed");
    assert_eq!(reason(&rejected), Reason::Draining);
    drop(call);
    assert_eq!(handle.snapshot().in_flight, 0);
}

#[test]
fn case_68_a_body_that_would_wait_outside_of_a_runtime_ends_in_an_error() {
    let frames = || StreamBody::new(stream::pending::<Result<http_body::Frame<Bytes>, Infallible>>());
    let in_time = DeadlineBody::new(frames(), Some(Deadline::after(SECOND)));
    let read = ReadTimeoutBody::new(frames(), SECOND);
    for error in [executor::block_on(in_time.collect()), executor::block_on(read.collect())] {
        assert_eq!(reason(&error.expect_err("it would wait")), Reason::NoRuntime);
    }
}

#[test]
fn case_82_a_timeout_whose_runtime_is_gone_ends_in_time_in_another_one() {
    let service = TimeoutConfig::new(SECOND).build().expect("valid").layer(hanging());
    let mut call = Box::pin(service.oneshot(()));
    let old = runtime();
    old.block_on(async { assert!(poll!(&mut call).is_pending()) });
    drop(old);
    runtime().block_on(async {
        let began = Instant::now();
        let error = timeout(5 * SECOND, call).await.expect("it ends").expect_err("it hangs");
        assert_eq!(reason(&error), Reason::Timeout { limit: SECOND });
        assert!(began.elapsed() <= SECOND, "{:?}", began.elapsed());
    });
}

#[test]
fn case_82_outside_of_all_runtimes_the_timer_of_a_runtime_that_lives_ends_a_call() {
    let limit = Duration::from_millis(20);
    let mut call = Box::pin(TimeoutConfig::new(limit).build().expect("valid").layer(hanging()).oneshot(()));
    let other = Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("a runtime");
    {
        let _guard = other.enter();
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    let error = executor::block_on(call).expect_err("it hangs");
    assert_eq!(reason(&error), Reason::Timeout { limit });
}

#[test]
fn case_82_outside_of_all_runtimes_a_call_whose_runtime_is_gone_is_rejected() {
    let queue = WaitQueueConfig::new().max_wait(SECOND).without_shedding();
    let concurrency = ConcurrencyLimitConfig::new(1).queue(queue).build().expect("valid");
    let _holder = concurrency.layer(hanging()).call(());
    for service in [
        BoxCloneService::new(TimeoutConfig::new(SECOND).build().expect("valid").layer(hanging())),
        BoxCloneService::new(concurrency.layer(hanging())),
    ] {
        let service: Boxed = service;
        let mut call: Pin<Box<dyn Future<Output = _>>> = Box::pin(service.oneshot(()));
        let old = runtime();
        old.block_on(async { assert!(poll!(&mut call).is_pending()) });
        drop(old);
        let error = call.now_or_never().expect("it ends").expect_err("no timer would wake it");
        assert_eq!(reason(&error), Reason::NoRuntime);
    }
}

#[test]
fn case_82_outside_of_all_runtimes_a_delay_whose_runtime_is_gone_ends_at_once() {
    let attempts = Arc::new(AtomicU32::new(0));
    let failure = |result: Result<&(), &BoxError>| match result {
        Ok(()) => Outcome::Success,
        Err(_) => Outcome::failure(ErrorClass::Connection),
    };
    let retry = RetryConfig::fixed(SECOND).build().expect("valid").classify(classify_fn(failure));
    let service = retry.layer(service_fn({
        let attempts = Arc::clone(&attempts);
        move |()| {
            let first = attempts.fetch_add(1, Ordering::Relaxed) == 0;
            ready(if first { Err::<(), BoxError>("down".into()) } else { Ok(()) })
        }
    }));
    let mut call = Box::pin(service.oneshot(()));
    let old = runtime();
    old.block_on(async { assert!(poll!(&mut call).is_pending()) });
    drop(old);
    assert!(matches!(call.now_or_never(), Some(Ok(()))));
    assert_eq!((attempts.load(Ordering::Relaxed), retry.handle().snapshot().counts.recovered), (2, 1));
}
