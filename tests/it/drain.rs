//! A drain: which calls pass, for which it waits, and its report.

use std::{
    cell::Cell,
    future::{Future, Ready, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::Rc,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    sync::oneshot,
    time::{Instant, advance, timeout},
};
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_reliability::{
    BoxError, Classifier, Event, EventKind, Outcome, PendingOutcome, Reason, Rejected, UntilResponse,
    concurrency_limit::ConcurrencyLimitConfig,
    drain::{Drain, DrainConfig, DrainHandle, DrainLayer, DrainPhase},
    wait_queue::WaitQueueConfig,
};

/// Each request is the end of its call.
type Request = oneshot::Receiver<u32>;

fn backend() -> impl Service<Request, Response = u32, Error = BoxError, Future: Send> + Clone {
    service_fn(|end: Request| async move { Ok::<_, BoxError>(end.await?) })
}

fn layer() -> DrainLayer {
    DrainConfig::new().limit(10 * SECOND).build().expect("valid")
}

fn reason(result: Result<u32, BoxError>) -> Reason {
    let error = result.expect_err("it is rejected");
    error.downcast_ref::<Rejected>().expect("by the drain").reason()
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_drain_rejects_new_calls_and_waits_for_the_calls_in_flight() {
    let layer = layer();
    let (handle, mut service) = (layer.handle(), layer.layer(backend()));
    let (end, request) = oneshot::channel();
    let mut call = spawn(service.call(request));
    assert_pending!(call.poll());
    assert!(!handle.is_draining());

    let mut drain = spawn(handle.drain());
    assert_pending!(drain.poll());
    assert!(handle.is_draining());
    let late = service.ready().await.expect("ready").call(oneshot::channel().1).await;
    assert_eq!(reason(late), Reason::Draining);
    advance(2 * SECOND).await;
    assert_pending!(drain.poll());

    end.send(7).expect("it is received");
    assert_eq!(assert_ready!(call.poll()).expect("it passes"), 7);
    assert!(drain.is_woken());
    let report = assert_ready!(drain.poll());
    assert_eq!((report.finished, report.left, report.waited), (1, 0, 2 * SECOND));
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.phase, snapshot.in_flight, snapshot.rejected), (DrainPhase::Closed, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn calls_pass_during_the_delay_and_the_drain_waits_for_them_too() {
    let layer = DrainConfig::new().delay(3 * SECOND).limit(5 * SECOND).build().expect("valid");
    let (handle, mut service) = (layer.handle(), layer.layer(backend()));
    let begin = Instant::now();
    let mut drain = spawn(handle.drain());
    assert_pending!(drain.poll());
    advance(2 * SECOND).await;
    assert_eq!((handle.is_draining(), handle.snapshot().phase), (true, DrainPhase::Announced));
    let (end, request) = oneshot::channel();
    let mut call = spawn(service.call(request));
    assert_pending!(call.poll());
    advance(SECOND).await;
    assert_pending!(drain.poll());
    assert_eq!(reason(service.call(oneshot::channel().1).await), Reason::Draining);
    end.send(1).expect("it is received");
    assert_ready!(call.poll()).expect("it passes");
    assert_eq!(assert_ready!(drain.poll()).finished, 1);
    assert_eq!(begin.elapsed(), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_nobody_waits_for_ends_the_delay_with_the_next_call() {
    let layer = DrainConfig::new().delay(SECOND).build().expect("valid");
    let (handle, mut service) = (layer.handle(), layer.layer(backend()));
    handle.begin();
    assert_pending!(spawn(handle.drain()).poll());
    advance(SECOND).await;
    assert_eq!(reason(service.call(oneshot::channel().1).await), Reason::Draining);
    assert_eq!(handle.snapshot().phase, DrainPhase::Closed);
}

#[tokio::test(start_paused = true)]
async fn every_task_that_waits_gets_one_report_at_one_limit() {
    let layer = layer();
    let (handle, mut service) = (layer.handle(), layer.layer(backend()));
    let (_end, request) = oneshot::channel();
    let _call = service.call(request);
    let waits: Vec<_> = (0..3)
        .map(|number| {
            let handle = handle.clone();
            tokio::spawn(async move {
                tokio::time::sleep(number * SECOND).await;
                handle.drain().await
            })
        })
        .collect();
    let begin = Instant::now();
    for wait in waits {
        let report = wait.await.expect("no panic");
        assert_eq!((report.finished, report.left, report.waited), (0, 1, 10 * SECOND));
    }
    assert_eq!(begin.elapsed(), 10 * SECOND);
    assert_eq!(handle.drain().now_or_never().expect("it has ended").left, 1);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_does_not_end_the_drain() {
    let layer = layer();
    let (handle, mut service) = (layer.handle(), layer.layer(backend()));
    let (end, request) = oneshot::channel();
    let call = service.call(request);
    assert!(timeout(SECOND, handle.drain()).await.is_err());
    assert_eq!(reason(service.call(oneshot::channel().1).await), Reason::Draining);
    end.send(1).expect("it is received");
    call.await.expect("it passes");
    assert_eq!(handle.drain().await.finished, 1);
}

#[test]
fn a_drain_without_calls_needs_no_runtime() {
    assert_eq!(layer().handle().drain().now_or_never().expect("it does not wait").left, 0);
}

#[tokio::test(start_paused = true)]
async fn case_63_queued_work_finishes_or_is_rejected_within_the_limit() {
    let queue = WaitQueueConfig::new().max_wait(4 * SECOND).without_shedding();
    let limit = ConcurrencyLimitConfig::new(2).queue(queue).build().expect("valid");
    let (drain, permits) = (layer(), limit.handle());
    let handle = drain.handle();
    let slow = service_fn(|()| async {
        tokio::time::sleep(3 * SECOND).await;
        Ok::<_, BoxError>(1)
    });
    let service = ServiceBuilder::new().layer(drain).layer(limit).service(slow);
    let calls: Vec<_> = (0..6).map(|_| tokio::spawn(service.clone().oneshot(()))).collect();
    tokio::time::sleep(SECOND).await;
    let report = handle.drain().await;
    assert_eq!((report.finished, report.left), (6, 0));
    assert!(report.waited <= 10 * SECOND);
    let (mut answered, mut rejected) = (0, 0);
    for call in calls {
        match call.now_or_never().expect("no task is left").expect("no panic") {
            Ok(_) => answered += 1,
            error => {
                assert!(matches!(reason(error), Reason::QueueTimeout { .. }));
                rejected += 1;
            }
        }
    }
    assert_eq!((answered, rejected), (4, 2));
    assert_eq!((permits.snapshot().in_flight, permits.snapshot().waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn case_07_a_call_dropped_in_any_phase_is_no_longer_in_flight() {
    let layer = layer();
    let (handle, mut service) = (layer.handle(), layer.layer(backend()));
    drop(service.call(oneshot::channel().1));
    assert_eq!(handle.snapshot().in_flight, 0, "before its first poll");
    let (_end, request) = oneshot::channel();
    let mut call = spawn(service.call(request));
    assert_pending!(call.poll());
    assert_eq!(handle.snapshot().in_flight, 1);
    drop(call);
    assert_eq!(handle.snapshot().in_flight, 0, "while the inner service works");
    let (end, request) = oneshot::channel();
    end.send(1).expect("it is received");
    let mut call = spawn(service.call(request));
    assert_ready!(call.poll()).expect("it passes");
    assert_eq!(handle.snapshot().in_flight, 0, "with its answer");
}

#[tokio::test(start_paused = true)]
async fn case_08_a_panic_in_the_call_its_future_or_the_classifier_ends_the_call() {
    #[derive(Clone)]
    struct Panics;
    impl Classifier<u32, BoxError> for Panics {
        fn classify(&self, _: Result<&u32, &BoxError>) -> Outcome {
            panic!("in the classifier")
        }
    }
    let layer = layer();
    let handle = layer.handle();
    let mut in_call = layer.layer(service_fn(|()| -> Ready<Result<u32, BoxError>> { panic!("in the call") }));
    assert!(catch_unwind(AssertUnwindSafe(|| in_call.call(()))).is_err());
    let mut in_future =
        layer.layer(service_fn(|()| async { panic!("in the future") as Result<u32, BoxError> }));
    assert!(AssertUnwindSafe(in_future.call(())).catch_unwind().await.is_err());
    let mut classified = layer.clone().classify(Panics).layer(service_fn(|()| ready(Ok::<u32, BoxError>(1))));
    assert!(AssertUnwindSafe(classified.call(())).catch_unwind().await.is_err());
    assert_eq!(handle.snapshot().in_flight, 0);
    assert_eq!(handle.drain().await.left, 0);
}

/// Never ready.
#[derive(Clone)]
struct Busy;

impl Service<()> for Busy {
    type Response = u32;
    type Error = BoxError;
    type Future = Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Pending
    }

    fn call(&mut self, (): ()) -> Self::Future {
        unreachable!("it is never ready")
    }
}

#[tokio::test(start_paused = true)]
async fn case_10_a_call_that_will_be_rejected_does_not_wait_for_the_inner_service() {
    let layer = layer();
    let (handle, service) = (layer.handle(), layer.layer(Busy));
    let mut waiting = spawn(service.clone().oneshot(()));
    assert_pending!(waiting.poll());
    handle.begin();
    assert!(waiting.is_woken(), "it began to wait before the drain");
    assert_eq!(reason(assert_ready!(waiting.poll())), Reason::Draining);
    assert_eq!(reason(service.oneshot(()).now_or_never().expect("it does not wait")), Reason::Draining);
}

#[tokio::test(start_paused = true)]
async fn case_05_a_service_that_waits_to_be_ready_is_polled_twice() {
    let layer = layer();
    let mut service = layer.layer(Busy);
    let polls = Cell::new(0);
    let mut waiting = pin!(std::future::poll_fn(|cx| {
        polls.set(polls.get() + 1);
        service.poll_ready(cx)
    }));
    assert!(timeout(SECOND / 2, &mut waiting).await.is_err());
    assert!(polls.get() <= 2, "{}", polls.get());
}

/// Defers every answer, and leaves it to the test to end it.
#[derive(Clone, Default)]
struct Deferring(Arc<Mutex<Vec<PendingOutcome>>>);

impl Classifier<u32, BoxError> for Deferring {
    fn classify(&self, _: Result<&u32, &BoxError>) -> Outcome {
        Outcome::Deferred
    }

    fn defer(&self, _: &mut u32, pending: PendingOutcome) -> Result<(), PendingOutcome> {
        self.0.lock().expect("no panic").push(pending);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn case_58_a_deferred_response_is_in_flight_to_its_end() {
    let deferring = Deferring::default();
    let layer = layer().classify(deferring.clone());
    let (handle, mut service) = (layer.handle(), layer.layer(service_fn(|()| ready(Ok::<u32, BoxError>(1)))));
    service.call(()).await.expect("it passes");
    service.call(()).await.expect("it passes");
    let mut drain = spawn(handle.drain());
    assert_pending!(drain.poll());
    let pending = deferring.0.lock().expect("no panic").pop().expect("two are open");
    pending.settle(Outcome::Success);
    assert_pending!(drain.poll());
    deferring.0.lock().expect("no panic").clear();
    assert_eq!(assert_ready!(drain.poll()).finished, 2);
}

#[tokio::test(start_paused = true)]
async fn case_23_all_services_of_a_layer_share_one_drain() {
    let layer = layer();
    let [mut first, mut second] = [layer.layer(backend()), layer.clone().layer(backend())];
    let mut other = layer.clone().isolated().layer(backend());
    let _in_flight = second.call(oneshot::channel().1);
    assert_eq!((first.handle().snapshot().in_flight, other.handle().snapshot().in_flight), (1, 0));
    layer.handle().begin();
    for service in [&mut first, &mut second] {
        assert_eq!(reason(service.call(oneshot::channel().1).await), Reason::Draining);
    }
    let (end, request) = oneshot::channel();
    end.send(3).expect("it is received");
    assert_eq!(other.call(request).await.expect("it passes"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_listener_hears_the_begin_and_the_end_once() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let layer = layer().named("pages").listen({
        let heard = Arc::clone(&heard);
        move |event: &Event| heard.lock().expect("no panic").push(event.clone())
    });
    let handle = layer.handle();
    let mut service = layer.layer(backend());
    let _left = service.call(oneshot::channel().1);
    handle.update(DrainConfig::new().limit(SECOND)).expect("valid");
    let _ = tokio::join!(handle.drain(), handle.drain());
    let events = heard.lock().expect("no panic");
    let texts: Vec<_> = events.iter().map(|event| (event.to_string(), event.kind.as_str())).collect();
    let expected = [
        ("pages: reconfigured", "reconfigured"),
        ("pages: drain began with 1 calls in flight", "drain_began"),
        ("pages: drain ended, 0 calls finished and 1 are left", "drain_ended"),
    ];
    assert_eq!(texts, expected.map(|(text, kind)| (text.to_owned(), kind)));
    assert!(matches!(events[2].kind, EventKind::DrainEnded { left: 1, .. }));
}

#[tokio::test(start_paused = true)]
async fn case_82_an_error_of_readiness_passes_and_counts_no_call() {
    #[derive(Clone)]
    struct Broken;
    impl Service<()> for Broken {
        type Response = u32;
        type Error = BoxError;
        type Future = Ready<Result<u32, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Err("broken".into()))
        }

        fn call(&mut self, (): ()) -> Self::Future {
            unreachable!("it is never ready")
        }
    }
    let layer = layer();
    let error = layer.layer(Broken).oneshot(()).await.expect_err("broken");
    assert_eq!((error.to_string().as_str(), layer.handle().snapshot().in_flight), ("broken", 0));
}

/// Neither `Send` nor `Clone`.
struct Local(Rc<Cell<u8>>);
impl Service<()> for Local {
    type Response = u32;
    type Error = BoxError;
    type Future = futures::future::LocalBoxFuture<'static, Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        let calls = Rc::clone(&self.0);
        calls.set(calls.get() + 1);
        Box::pin(async move { Ok(u32::from(calls.get())) })
    }
}

#[test]
fn case_12_a_drained_service_is_send_exactly_when_the_inner_service_is() {
    fn send_and_sync<T: Send + Sync + 'static>() {}
    fn future_is_send<T: Send>(_: T) {}
    send_and_sync::<(DrainHandle, DrainLayer, Drain<u8, UntilResponse>)>();
    future_is_send(layer().handle().drain());
    let service = layer().layer(Local(Rc::default()));
    assert_eq!(service.oneshot(()).now_or_never().expect("it does not wait").expect("it passes"), 1);
}

#[test]
fn case_03_a_call_without_readiness_is_counted_as_any_other() {
    let layer = layer();
    let call = layer.layer(backend()).call(oneshot::channel().1);
    assert_eq!(layer.handle().snapshot().in_flight, 1);
    drop(call);
}

/// The future of a call is polled by hand, so that its type is used.
#[test]
fn the_future_has_a_name() {
    type Named =
        tower_reliability::drain::future::ResponseFuture<Ready<Result<u32, BoxError>>, UntilResponse>;
    let mut service = layer().layer(service_fn(|()| ready(Ok::<u32, BoxError>(5))));
    let call: Named = service.call(());
    let mut context = Context::from_waker(std::task::Waker::noop());
    assert!(pin!(call).poll(&mut context).is_ready());
}
