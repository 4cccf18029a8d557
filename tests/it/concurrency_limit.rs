//! A limit on calls in flight: who passes, who waits, and that every permit comes back.

use std::{
    cell::Cell,
    future::{Future, Pending, Ready, pending, ready},
    marker::PhantomPinned,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    sync::oneshot,
    time::{advance, timeout},
};
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimitLayer as TowerLimit, service_fn};
use tower_reliability::{
    BoxError, Classifier, Outcome, PendingOutcome, Priority, Reason, Rejected,
    concurrency_limit::{
        ConcurrencyLimit, ConcurrencyLimitConfig, ConcurrencyLimitHandle, future::ResponseFuture,
    },
    wait_queue::WaitQueueConfig,
};

/// Each request is the end of its call.
type Request = oneshot::Receiver<u32>;

fn backend() -> impl Service<Request, Response = u32, Error = BoxError, Future: Send> + Clone {
    service_fn(|end: Request| async move { Ok::<_, BoxError>(end.await?) })
}

fn reason(result: Result<u32, BoxError>) -> Reason {
    let error = result.expect_err("it is rejected");
    error.downcast_ref::<Rejected>().expect("by the limit").reason()
}

/// A request, and the means to end its call.
fn request() -> (oneshot::Sender<u32>, Request) {
    oneshot::channel()
}

/// A request whose call does not end.
fn endless() -> Request {
    let (end, request) = request();
    std::mem::forget(end);
    request
}

/// Nothing in flight, no call in the queue, and a new call passes.
async fn assert_quiet<S>(service: &mut S, handle: &ConcurrencyLimitHandle)
where
    S: Service<Request, Response = u32, Error = BoxError>,
{
    assert_eq!((handle.snapshot().in_flight, handle.snapshot().waiting), (0, 0));
    let (end, request) = request();
    end.send(7).expect("it is received");
    let answer = service.ready().await.expect("ready").call(request).await;
    assert_eq!(answer.expect("it passes"), 7);
    assert_eq!(handle.snapshot().in_flight, 0);
}

fn config(limit: u32) -> ConcurrencyLimitConfig {
    ConcurrencyLimitConfig::new(limit)
}

#[tokio::test(start_paused = true)]
async fn case_01_readiness_takes_no_permit() {
    let layer = config(1).build().expect("valid");
    let mut service = layer.layer(backend());
    let mut other = service.clone();
    for service in [&mut service, &mut other] {
        service.ready().await.expect("ready");
        service.ready().await.expect("ready");
    }
    assert_eq!(layer.handle().snapshot().in_flight, 0);
    drop(other);
    assert_quiet(&mut service, &layer.handle()).await;
}

#[tokio::test(start_paused = true)]
async fn case_30_waiting_calls_are_served_by_priority_and_then_by_age() {
    use Priority::{Critical, High, Low, Normal};
    let layer = config(1).build().expect("valid").priority(|request: &Priority| *request);
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&order);
    let inner = service_fn(move |request: Priority| {
        seen.lock().expect("no panic").push(request);
        tokio::time::sleep(Duration::from_millis(1)).map(Ok::<_, BoxError>)
    });
    let mut service = layer.layer(inner);
    let calls = [Normal, Low, High, Normal, Critical, High].map(|it| service.call(it));
    for answer in futures::future::join_all(calls).await {
        answer.expect("it is served");
    }
    assert_eq!(*order.lock().expect("no panic"), [Normal, Critical, High, High, Normal, Low]);
    let counts = layer.handle().snapshot().counts;
    assert_eq!((counts.limited, counts.served), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn case_05_an_idle_waiter_is_polled_a_handful_of_times() {
    let layer = config(1).build().expect("valid");
    let mut service = layer.layer(backend());
    let (end, first) = request();
    let (second_end, second) = request();
    let mut running = spawn(service.call(first));
    assert_pending!(running.poll());
    let mut polls = 0;
    let mut waiting = Box::pin(service.call(second));
    let counted = std::future::poll_fn(|cx| {
        polls += 1;
        waiting.as_mut().poll(cx)
    });
    assert!(timeout(Duration::from_millis(500), counted).await.is_err());
    assert!(polls <= 3, "{polls} polls");
    let mut waiting = spawn(waiting);
    assert_pending!(waiting.poll());
    end.send(1).expect("it is received");
    assert!(!waiting.is_woken());
    assert!(assert_ready!(running.poll()).is_ok() && waiting.is_woken());
    second_end.send(2).expect("it is received");
    assert_eq!(assert_ready!(waiting.poll()).expect("served"), 2);
}

#[tokio::test(start_paused = true)]
async fn case_07_a_call_dropped_in_any_phase_gives_back_what_it_took() {
    let layer = config(1).build().expect("valid");
    let mut service = layer.layer(backend());
    let handle = layer.handle();
    // Before its first poll, while it runs, and after its end.
    drop(service.call(endless()));
    assert_quiet(&mut service, &handle).await;
    let mut running = spawn(service.call(endless()));
    assert_pending!(running.poll());
    assert_eq!(handle.snapshot().in_flight, 1);
    // In the queue, before and after the first poll.
    drop(service.call(endless()));
    let mut waiting = spawn(service.call(endless()));
    assert_pending!(waiting.poll());
    assert_eq!(handle.snapshot().waiting, 1);
    drop(waiting);
    assert_eq!((handle.snapshot().waiting, handle.snapshot().counts.cancelled), (0, 2));
    // Served, and dropped before it noticed: the next call gets the permit.
    let served = service.call(endless());
    let (end, next) = request();
    let mut next = spawn(service.call(next));
    assert_pending!(next.poll());
    drop(running);
    assert_eq!((handle.snapshot().waiting, next.is_woken()), (1, false));
    drop(served);
    assert_eq!((handle.snapshot().waiting, next.is_woken()), (0, true));
    end.send(3).expect("it is received");
    assert_eq!(assert_ready!(next.poll()).expect("served"), 3);
    drop(next);
    assert_quiet(&mut service, &handle).await;
}

/// Never ready, and counts how often it is asked and called.
#[derive(Clone, Default)]
struct NeverReady(Arc<AtomicUsize>);

impl Service<Request> for NeverReady {
    type Response = u32;
    type Error = BoxError;
    type Future = Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Poll::Pending
    }

    fn call(&mut self, _: Request) -> Self::Future {
        panic!("it is not ready")
    }
}

#[tokio::test(start_paused = true)]
async fn case_07_a_call_dropped_while_the_inner_service_is_not_ready_returns_its_permit() {
    let layer = config(1).build().expect("valid");
    let mut service = layer.layer(NeverReady::default());
    let mut call = spawn(service.call(endless()));
    assert_pending!(call.poll());
    assert_eq!(layer.handle().snapshot().in_flight, 1);
    drop(call);
    assert_eq!(layer.handle().snapshot().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn case_10_a_call_that_will_be_rejected_does_not_wait_for_the_inner_service() {
    let layer = config(1).queue(WaitQueueConfig::none()).build().expect("valid");
    let mut running = spawn(layer.layer(backend()).call(endless()));
    assert_pending!(running.poll());
    let inner = NeverReady::default();
    let mut service = layer.layer(inner.clone());
    let mut is_ready = spawn(service.ready());
    assert!(assert_ready!(is_ready.poll()).is_ok());
    drop(is_ready);
    let error = service.call(endless()).await.expect_err("no permit is free");
    let rejected = error.downcast_ref::<Rejected>().expect("by the limit");
    assert_eq!(rejected.reason(), Reason::ConcurrencyLimited { limit: 1 });
    assert!(rejected.retry_after().is_some_and(|delay| !delay.is_zero()));
    assert_eq!(inner.0.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn case_09_a_call_that_waits_holds_no_place_of_the_inner_service() {
    let layer = config(1).build().expect("valid");
    let inner = TowerLimit::new(1).layer(backend());
    let (mut service, mut inner) = (layer.layer(inner.clone()), inner);
    let (end, first) = request();
    // The only permit is taken between readiness and call.
    service.ready().await.expect("ready");
    let mut running = spawn(layer.layer(backend()).call(first));
    assert_pending!(running.poll());
    let (second_end, second) = request();
    let mut waiting = spawn(service.call(second));
    assert_pending!(waiting.poll());
    timeout(Duration::from_millis(1), inner.ready()).await.expect("its place is free").expect("ready");
    // Now the inner service has no place, and the call waits with its permit.
    end.send(1).expect("it is received");
    assert!(assert_ready!(running.poll()).is_ok());
    assert_pending!(waiting.poll());
    second_end.send(2).expect("it is received");
    drop(inner);
    assert!(waiting.is_woken());
    assert_eq!(assert_ready!(waiting.poll()).expect("served"), 2);
}

#[tokio::test(start_paused = true)]
async fn case_09_a_call_that_waits_gives_up_the_place_that_its_service_waited_for() {
    let service = config(1).build().expect("valid").layer(TowerLimit::new(1).layer(backend()));
    let (mut first, mut second, mut third) = (service.clone(), service.clone(), service);
    first.ready().await.expect("it has the place of the inner service");
    spawn(()).enter(|cx, _| assert_pending!(second.poll_ready(cx)));
    let ((end, running), (third_end, request_3)) = (request(), request());
    let mut running = spawn(first.call(running));
    assert_pending!(running.poll());
    let mut has_permit = spawn(third.ready().await.expect("no permit is free").call(request_3));
    assert_pending!(has_permit.poll());
    end.send(1).expect("it is received");
    assert!(assert_ready!(running.poll()).is_ok());
    // The second service is the next in the inner queue, and waits for the permit now.
    let _waiting = second.ready().await.expect("no permit is free").call(endless());
    third_end.send(3).expect("it is received");
    assert!(has_permit.is_woken());
    assert_eq!(assert_ready!(has_permit.poll()).expect("served"), 3);
}

#[tokio::test(start_paused = true)]
async fn case_04_a_ready_service_is_served_even_if_the_permit_is_gone_by_then() {
    let layer = config(1).build().expect("valid");
    let mut clones = vec![layer.layer(backend()); 5];
    for service in &mut clones {
        service.ready().await.expect("ready");
    }
    let calls = clones.iter_mut().map(|service| {
        let (end, request) = request();
        end.send(1).expect("it is received");
        service.call(request)
    });
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.expect("it waited"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn case_13_the_wait_begins_with_the_call_and_not_with_the_first_poll() {
    let max_wait = Duration::from_secs(2);
    let queue = WaitQueueConfig::new().max_wait(max_wait);
    let layer = config(1).queue(queue).build().expect("valid");
    let mut service = layer.layer(backend());
    let mut running = spawn(service.call(endless()));
    assert_pending!(running.poll());
    let waiting = service.call(endless());
    let mut polled = spawn(service.call(endless()));
    assert_pending!(polled.poll());
    advance(max_wait).await;
    assert!(polled.is_woken());
    assert_eq!(reason(assert_ready!(polled.poll())), Reason::QueueTimeout { max_wait });
    assert_eq!(reason(assert_ready!(spawn(waiting).poll())), Reason::QueueTimeout { max_wait });
    assert_eq!(layer.handle().snapshot().counts.rejected_max_wait, 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_does_not_wait_beyond_its_deadline() {
    #[derive(Clone)]
    struct InASecond;
    impl tower_reliability::DeadlineSource<Request> for InASecond {
        fn deadline(&self, _: &Request) -> Option<tower_reliability::Deadline> {
            Some(tower_reliability::Deadline::after(Duration::from_millis(500)))
        }
    }
    let layer = config(1).build().expect("valid").deadlines(InASecond);
    let mut service = layer.layer(backend());
    let mut running = spawn(service.call(endless()));
    assert_pending!(running.poll());
    let begin = tokio::time::Instant::now();
    assert_eq!(reason(service.call(endless()).await), Reason::DeadlineExceeded);
    assert!(begin.elapsed() < Duration::from_millis(510), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn case_08_a_panic_in_the_call_its_future_or_the_classifier_returns_the_permit() {
    #[derive(Clone)]
    struct Panics;
    impl Classifier<u32, BoxError> for Panics {
        fn classify(&self, result: Result<&u32, &BoxError>) -> Outcome {
            assert_eq!(*result.expect("a response"), 7, "the classifier panics");
            Outcome::Success
        }
    }
    let layer = config(1).build().expect("valid").classify(Panics);
    let at_call = service_fn(|_: Request| -> Ready<Result<u32, BoxError>> { panic!("at the call") });
    let at_poll = service_fn(|_: Request| async { panic!("at the poll") });
    let bad = service_fn(|_: Request| ready(Ok::<_, BoxError>(1)));
    let panics = |call: &mut dyn FnMut()| assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    // With and without a wait for the inner service.
    for is_ready in [true, false] {
        macro_rules! run {
            ($inner:expr) => {{
                let mut service = layer.layer($inner);
                if is_ready {
                    service.ready().await.expect("ready");
                }
                panics(&mut || drop(assert_ready!(spawn(service.call(endless())).poll())));
                assert_eq!(layer.handle().snapshot().in_flight, 0);
            }};
        }
        run!(at_call);
        run!(at_poll);
        run!(bad);
    }
    assert_quiet(&mut layer.layer(backend()), &layer.handle()).await;
}

#[tokio::test(start_paused = true)]
async fn case_08_a_waker_that_panics_loses_no_permit() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("the waker panics");
        }
    }
    let waker = Waker::from(Arc::new(Panics));
    let step = Duration::from_millis(10);
    let queue = WaitQueueConfig::new().capacity(7).shed_above(step, step);
    let layer = config(2).queue(queue).build().expect("valid");
    let (mut service, handle) = (layer.layer(backend()), layer.handle());
    let [first, second] = [(); 2].map(|()| service.call(endless()));
    let waiting = [(); 2].map(|()| {
        let mut call = Box::pin(service.call(endless()));
        assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        call
    });
    // The first one that waits is served, and the second one is shed.
    advance(2 * step).await;
    drop(first);
    advance(2 * step).await;
    let next = service.call(endless());
    drop(second);
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.in_flight, snapshot.waiting, snapshot.counts.rejected_shed), (2, 0, 1));
    drop((waiting, next));
    assert_quiet(&mut service, &handle).await;
}

/// Leaves each pending outcome with the test.
#[derive(Clone, Default)]
struct Deferring(Arc<Mutex<Vec<PendingOutcome>>>);

impl Classifier<u32, BoxError> for Deferring {
    fn classify(&self, _: Result<&u32, &BoxError>) -> Outcome {
        Outcome::Deferred
    }

    fn defer(&self, response: &mut u32, pending: PendingOutcome) -> Result<(), PendingOutcome> {
        if *response == 0 {
            return Err(pending);
        }
        self.0.lock().expect("no panic").push(pending);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn case_58_a_deferred_response_holds_its_permit_to_its_end() {
    let deferred = Deferring::default();
    let layer = config(2).build().expect("valid").classify(deferred.clone());
    let mut service = layer.layer(service_fn(|it: u32| ready(Ok::<_, BoxError>(it))));
    for (request, in_flight) in [(0, 0), (1, 1), (2, 2)] {
        service.ready().await.expect("ready").call(request).await.expect("it passes");
        assert_eq!(layer.handle().snapshot().in_flight, in_flight);
    }
    let mut waiting = spawn(service.call(0));
    assert_pending!(waiting.poll());
    let pending = || deferred.0.lock().expect("no panic").pop().expect("two were deferred");
    pending().settle(Outcome::Success);
    assert!(waiting.is_woken() && assert_ready!(waiting.poll()).is_ok());
    drop(pending());
    assert_eq!(layer.handle().snapshot().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn case_64_a_new_limit_holds_at_once() {
    let layer = config(2).build().expect("valid");
    let (mut service, handle) = (layer.layer(backend()), layer.handle());
    let mut calls: Vec<_> =
        (0..5).map(|_| request()).map(|(end, it)| (end, spawn(service.call(it)))).collect();
    for (_, call) in &mut calls {
        assert_pending!(call.poll());
    }
    handle.update(config(4)).expect("valid");
    assert_eq!((handle.snapshot().in_flight, handle.snapshot().waiting), (4, 1));
    assert!(calls[2].1.is_woken() && calls[3].1.is_woken() && !calls[4].1.is_woken());
    handle.update(config(2)).expect("valid");
    // Two calls end before the next one passes.
    for (ended, in_flight, waiting) in [(0, 3, 1), (1, 2, 1), (2, 2, 0)] {
        drop(calls.remove(0));
        let snapshot = handle.snapshot();
        assert_eq!((snapshot.in_flight, snapshot.waiting), (in_flight, waiting), "after call {ended}");
    }
    assert_eq!(handle.update(config(0)).map_err(|error| error.field()), Err("limit"));
    assert_eq!(handle.config(), config(2));
    drop(calls);
    assert_quiet(&mut service, &handle).await;
}

#[tokio::test(start_paused = true)]
async fn a_shadow_holds_no_call_up_and_counts_the_calls_that_would_have_waited() {
    let layer = config(1).build().expect("valid");
    let (mut service, handle) = (layer.layer(backend()), layer.handle());
    let mut running = spawn(service.call(endless()));
    let mut waiting = spawn(service.call(endless()));
    assert_pending!(running.poll());
    assert_pending!(waiting.poll());
    handle.update(config(1).shadow(true)).expect("valid");
    assert_eq!((handle.snapshot().in_flight, handle.snapshot().waiting), (2, 0));
    let passing = spawn(service.call(endless()));
    assert_eq!((handle.snapshot().in_flight, handle.snapshot().counts.would_wait), (3, 1));
    handle.update(config(1)).expect("valid");
    drop((running, waiting, passing));
    assert_quiet(&mut service, &handle).await;
}

#[tokio::test(start_paused = true)]
async fn case_23_all_services_of_a_layer_share_one_limit() {
    let layer = config(1).queue(WaitQueueConfig::none()).build().expect("valid");
    let mut running = spawn(layer.clone().layer(backend()).call(endless()));
    assert_pending!(running.poll());
    let refused = layer.layer(backend()).oneshot(endless()).await;
    assert_eq!(reason(refused), Reason::ConcurrencyLimited { limit: 1 });
    let isolated = layer.isolated().named("own");
    assert_eq!(isolated.handle().name().as_str(), "own");
    assert_quiet(&mut isolated.layer(backend()), &isolated.handle()).await;
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

impl Service<Request> for Awkward {
    type Response = u32;
    type Error = BoxError;
    type Future = AwkwardFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        self.0.set(self.0.get() + 1);
        AwkwardFuture(PhantomPinned)
    }
}

/// Not `Send`.
#[derive(Clone)]
struct Local(#[allow(dead_code, reason = "makes it not `Send`")] Rc<()>);

impl Service<Request> for Local {
    type Response = u32;
    type Error = BoxError;
    type Future = Pending<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request) -> Self::Future {
        pending()
    }
}

#[tokio::test(start_paused = true)]
async fn case_12_awkward_services_are_welcome() {
    let layer = config(1).build().expect("valid");
    let mut service = layer.layer(Awkward(Cell::new(0)));
    service.ready().await.expect("ready").call(endless()).await.expect("answered");
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
    assert!(holds!(Send for ConcurrencyLimit<Awkward>) && !holds!(Sync for ConcurrencyLimit<Awkward>));
    assert!(holds!(Sync for ConcurrencyLimit<NeverReady>) && !holds!(Send for ConcurrencyLimit<Local>));
    assert!(holds!(Send for ResponseFuture<Awkward, Request, ()>));
    assert!(!holds!(Send for ResponseFuture<Local, Request, ()>));
}
