//! The attempts that a retry sends, their times, and the things it keeps meanwhile.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_reliability::{
    BoxError, CallHistory, CloneRequest, Deadline, DeadlineSource, Error, ErrorClass, Name, Outcome,
    PriorAttempts, Protocol, Reason, Rejected, Resend, Trip,
    circuit_breaker::CircuitBreakerConfig,
    retry::{Jitter, Retry, RetryConfig, RetryLayer, Stop},
    retry_budget::{RetryBudget, RetryBudgetConfig},
};

use crate::scripted::{Act, Answer, Answered, ByPeer, Peer, Script, rejected};

pub(crate) const SEQUENCE: RetryConfig =
    RetryConfig::exponential(Duration::from_millis(100)).jitter(Jitter::None);

pub(crate) fn layer(config: RetryConfig) -> RetryLayer<Protocol<ByPeer>> {
    config.build().expect("it is valid").classify(ByPeer)
}

#[tokio::test(start_paused = true)]
async fn it_retries_after_each_delay_of_the_sequence() {
    let script = Script::new([Act::BAD, Act::BAD]);
    let retry = layer(SEQUENCE);
    let answer = retry.layer(script.service()).oneshot(()).await;
    assert_eq!((answer, script.asked()), (Ok(()), vec![0, 100, 300]));
    let seen = retry.handle().snapshot();
    assert_eq!((seen.counts.recovered, seen.counts.retries, seen.counts.failed), (1, 2, 0));
    let server = seen.classes[ErrorClass::Server];
    assert_eq!((server.failed, server.retried, server.recovered), (2, 2, 1));
    let history: Vec<_> =
        seen.history.iter().map(|it| (it.attempt, it.class, it.delay.as_millis())).collect();
    assert_eq!(
        history,
        [(1, Some(ErrorClass::Server), 0), (2, Some(ErrorClass::Server), 100), (3, None, 200)]
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_failure_is_the_result() {
    let script = Script::new([Act::BAD, Act::BAD, Act::now(Answer::Fail(ErrorClass::Timeout))]);
    let retry = layer(SEQUENCE);
    let answer = retry.layer(script.service()).oneshot(()).await;
    assert_eq!(answer, Err(Error::Inner(Peer(Answer::Fail(ErrorClass::Timeout)))));
    assert_eq!(retry.handle().snapshot().counts.exhausted, 1);
}

#[tokio::test(start_paused = true)]
async fn a_class_that_is_not_retried_is_returned_at_once() {
    let script = Script::new([Act::now(Answer::Fail(ErrorClass::Validation))]);
    let retry = layer(SEQUENCE);
    assert!(retry.layer(script.service()).oneshot(()).await.is_err());
    assert_eq!((script.asked(), retry.handle().snapshot().counts.not_retryable), (vec![0], 1));
}

/// Counts its clones.
struct Counted(Arc<AtomicU32>);

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_attempt_costs_no_clone() {
    for (attempts, expected) in [(1, 0), (2, 1), (3, 2)] {
        let clones = Arc::new(AtomicU32::new(0));
        let failing = service_fn(|_: Counted| async {
            Err::<(), _>(Error::Inner(Peer(Answer::Fail(ErrorClass::Server))))
        });
        let answer =
            layer(SEQUENCE.max_attempts(attempts)).layer(failing).oneshot(Counted(Arc::clone(&clones))).await;
        assert!(answer.is_err());
        assert_eq!(clones.load(Ordering::Relaxed), expected, "{attempts} attempts");
    }
}

/// A request without copies, such as a stream.
struct Stream;

#[derive(Clone)]
struct NoCopies;

impl Resend<Stream> for NoCopies {
    fn copy(&self, _: &mut Stream) -> Option<Stream> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn case_40_a_request_without_a_copy_is_sent_once() {
    let sent = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&sent);
    let failing = service_fn(move |_: Stream| {
        counter.fetch_add(1, Ordering::Relaxed);
        async { Err::<(), _>(Error::Inner(Peer(Answer::Fail(ErrorClass::Server)))) }
    });
    let retry = layer(SEQUENCE).resend(NoCopies);
    let answer = retry.layer(failing).oneshot(Stream).await;
    assert_eq!(answer, Err(Error::Inner(Peer(Answer::Fail(ErrorClass::Server)))));
    assert_eq!((sent.load(Ordering::Relaxed), retry.handle().snapshot().counts.not_resendable), (1, 1));
}

/// Keeps the order of its calls. A copy cannot take over.
#[derive(Clone, Default)]
struct Lost(Arc<Mutex<Vec<Option<PriorAttempts>>>>);

impl Resend<()> for Lost {
    fn copy(&self, (): &mut ()) -> Option<()> {
        Some(())
    }

    fn may_resend(&self, (): &(), prior: PriorAttempts) -> bool {
        self.0.lock().expect("no thread panics with it").push(Some(prior));
        true
    }

    fn take_over(&self, (): &mut ()) -> bool {
        self.0.lock().expect("no thread panics with it").push(None);
        false
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_lost_after_the_grant_is_not_sent_and_the_withdrawal_is_refunded() {
    let (script, lost) = (Script::new([Act::BAD, Act::BAD]), Lost::default());
    let retry = layer(SEQUENCE).resend(lost.clone());
    let answer = retry.layer(script.service()).oneshot(()).await;
    assert_eq!((answer.is_err(), script.asked()), (true, vec![0]));
    assert_eq!(*lost.0.lock().expect("no thread panics with it"), [Some(PriorAttempts::Ended), None]);
    let seen = retry.handle().snapshot();
    assert_eq!((seen.counts.not_resendable, seen.counts.failed, seen.budget.spent), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn case_39_the_failed_response_is_gone_before_the_wait() {
    let alive = Arc::new(());
    let response = Arc::clone(&alive);
    let held = service_fn(move |()| {
        let response = Arc::clone(&response);
        async move { Ok::<_, std::io::Error>(response) }
    });
    let failing = |_: Result<&Arc<()>, &std::io::Error>| Outcome::failure(ErrorClass::Server);
    let mut call =
        tokio_test::task::spawn(SEQUENCE.build().expect("valid").classify(failing).layer(held).oneshot(()));
    tokio_test::assert_pending!(call.poll());
    assert_eq!(Arc::strong_count(&alive), 2, "one here, one with the service");
}

#[tokio::test(start_paused = true)]
async fn case_09_a_delayed_call_holds_no_inner_place() {
    let script = Script::new([Act::BAD]);
    let one_place =
        ServiceBuilder::new().layer(layer(SEQUENCE)).concurrency_limit(1).service(script.service());
    let waiting = tokio::spawn(one_place.clone().oneshot(()));
    sleep(Duration::from_millis(50)).await;
    assert_eq!(script.asked(), [0]);
    assert!(one_place.oneshot(()).await.is_ok());
    assert_eq!(script.asked(), [0, 50]);
    assert!(waiting.await.expect("it does not panic").is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_inner_place_that_is_never_free_holds_only_the_retry() {
    let script = Script::new([Act::BAD, Act::HANG]);
    let retry = layer(SEQUENCE);
    let one_place = ServiceBuilder::new().layer(retry.clone()).concurrency_limit(1).service(script.service());
    let mut first = tokio_test::task::spawn(one_place.clone().oneshot(()));
    tokio_test::assert_pending!(first.poll());
    let second = tokio::spawn(one_place.oneshot(()));
    sleep(Duration::from_secs(1)).await;
    tokio_test::assert_pending!(first.poll());
    drop(first);
    second.abort();
    let _ = second.await;
    let seen = retry.handle().snapshot();
    assert_eq!((seen.counts.abandoned, seen.counts.retries, seen.budget.spent), (2, 0, 0));
    assert!((seen.budget.balance - 10.4).abs() < 0.01, "two requests: {}", seen.budget.balance);
}

/// Knows the deadline of every request.
#[derive(Clone)]
struct By(Deadline);

impl DeadlineSource<()> for By {
    fn deadline(&self, (): &()) -> Option<Deadline> {
        Some(self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn case_41_no_attempt_begins_that_cannot_end_by_the_deadline() {
    let script = Script::new([Act::BAD.after(Duration::from_millis(200)); 9]);
    let retry = layer(SEQUENCE.max_attempts(9)).deadlines(By(Deadline::after(Duration::from_secs(1))));
    let began = Instant::now();
    assert!(retry.layer(script.service()).oneshot(()).await.is_err());
    // After the attempt that ends at 700 ms, 400 ms of delay would be too much.
    assert_eq!((script.asked(), began.elapsed()), (vec![0, 300, 700], Duration::from_millis(900)));
    assert_eq!(retry.handle().snapshot().counts.out_of_time, 1);
}

#[tokio::test(start_paused = true)]
async fn case_41_a_retry_leaves_the_typical_time_of_an_attempt() {
    let retry = layer(SEQUENCE);
    let slow = Script::new([Act::GOOD.after(Duration::from_millis(400)); 128]);
    for _ in 0..128 {
        retry.layer(slow.service()).oneshot(()).await.expect("it does well");
    }
    let typical = retry.handle().snapshot().typical_latency.expect("one in sixteen tells");
    assert!((Duration::from_millis(400)..Duration::from_millis(450)).contains(&typical), "{typical:?}");
    for (left, attempts) in [(450, 1), (700, 2)] {
        let script = Script::new([Act::BAD]);
        let deadlines = By(Deadline::after(Duration::from_millis(left)));
        let _ = retry.clone().deadlines(deadlines).layer(script.service()).oneshot(()).await;
        assert_eq!(script.asked().len(), attempts, "{left} ms left");
    }
}

#[tokio::test(start_paused = true)]
async fn case_42_an_open_circuit_is_retried_only_with_other_endpoints() {
    let open = || Error::Rejected(Rejected::new(Name::new("endpoint"), Reason::CircuitOpen(Trip::ByHand)));
    for (config, expected) in [(SEQUENCE, 1), (SEQUENCE.other_endpoints(), 3)] {
        let asked = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&asked);
        let closed_off = service_fn(move |()| {
            counter.fetch_add(1, Ordering::Relaxed);
            async move { Answered::Err(open()) }
        });
        let began = Instant::now();
        let retry = layer(config);
        let answer = retry.layer(closed_off).oneshot(()).await;
        assert!(rejected(&answer).is_some());
        assert_eq!((asked.load(Ordering::Relaxed), began.elapsed()), (expected, Duration::ZERO));
        assert_eq!(retry.handle().snapshot().budget.spent, 0, "nothing was sent");
    }
}

#[tokio::test(start_paused = true)]
async fn case_45_around_a_breaker_every_attempt_is_a_sample_and_inside_every_call() {
    for (retry_outside, samples) in [(true, 3), (false, 1)] {
        let script = Script::new([Act::BAD; 3]);
        let breaker = CircuitBreakerConfig::new().build().expect("valid").classify(ByPeer);
        let (handle, retry) = (breaker.handle(), layer(SEQUENCE));
        let _ = if retry_outside {
            ServiceBuilder::new().layer(retry).layer(breaker).service(script.service()).oneshot(()).await
        } else {
            ServiceBuilder::new().layer(breaker).layer(retry).service(script.service()).oneshot(()).await
        };
        assert_eq!(handle.snapshot().window_failures, samples);
    }
}

#[tokio::test(start_paused = true)]
async fn some_requests_have_numbers_of_their_own() {
    let once = RetryConfig::new().max_attempts(1).policy().expect("valid");
    let sent = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&sent);
    let failing = service_fn(move |_: bool| {
        counter.fetch_add(1, Ordering::Relaxed);
        async { Err::<(), _>(Error::Inner(Peer(Answer::Fail(ErrorClass::Server)))) }
    });
    let retry = layer(SEQUENCE).policy(move |write: &bool| write.then(|| once.clone()));
    let _ = retry.layer(failing.clone()).oneshot(true).await;
    let counts = retry.handle().snapshot().counts;
    assert_eq!((sent.swap(0, Ordering::Relaxed), counts.exhausted), (1, 1));
    let _ = retry.layer(failing).oneshot(false).await;
    assert_eq!(sent.load(Ordering::Relaxed), 3);
}

/// Leaves the history where the test can reach it.
#[derive(Clone, Default)]
struct Traced(CallHistory, Arc<Mutex<Vec<u32>>>);

impl Resend<()> for Traced {
    fn copy(&self, (): &mut ()) -> Option<()> {
        Some(())
    }

    fn prepare(&self, (): &mut (), attempt: u32, history: &mut Option<CallHistory>) {
        history.get_or_insert_with(|| self.0.clone());
        self.1.lock().expect("no thread panics with it").push(attempt);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outer_retry_stands_down_after_an_inner_retry() {
    let traced = Traced::default();
    let script = Script::new([Act::BAD; 9]);
    let (outer, inner) = (
        layer(SEQUENCE).resend(traced.clone()),
        layer(SEQUENCE).resend(Traced(traced.0.inner(), traced.1.clone())),
    );
    let both = ServiceBuilder::new().layer(outer.clone()).layer(inner).service(script.service());
    assert!(both.oneshot(()).await.is_err());
    assert_eq!(script.asked().len(), 3, "and not nine");
    assert_eq!(outer.handle().snapshot().counts.forbidden, 1);
    assert_eq!(
        *traced.1.lock().expect("no thread panics with it"),
        [1, 1, 2, 3],
        "the outer one's first, then the inner's"
    );
}

#[tokio::test(start_paused = true)]
async fn numbers_can_be_changed_while_calls_wait() {
    let script = Script::new([Act::BAD; 9]);
    let retry = layer(SEQUENCE.max_attempts(9));
    let call = tokio::spawn(retry.layer(script.service()).oneshot(()));
    sleep(Duration::from_millis(150)).await;
    retry.handle().update(SEQUENCE.max_attempts(2)).expect("valid");
    assert!(call.await.expect("it does not panic").is_err());
    assert_eq!(script.asked().len(), 3, "the attempt that waited was sent, and was the last");
    assert_eq!(
        retry.handle().update(SEQUENCE.max_attempts(0)).map_err(|error| error.field()),
        Err("max_attempts")
    );
    assert_eq!(retry.handle().config(), SEQUENCE.max_attempts(2));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_breaks_before_the_retry_ends_the_call() {
    #[derive(Clone, Default)]
    struct OnceReady(Arc<AtomicBool>);
    impl Service<()> for OnceReady {
        type Response = ();
        type Error = BoxError;
        type Future = std::future::Ready<Result<(), BoxError>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
            let broken = self.0.swap(true, Ordering::SeqCst);
            std::task::Poll::Ready(if broken { Err("broken".into()) } else { Ok(()) })
        }

        fn call(&mut self, (): ()) -> Self::Future {
            std::future::ready(Err("failed".into()))
        }
    }
    let retry = SEQUENCE
        .build()
        .expect("valid")
        .classify(|_: Result<&(), &BoxError>| Outcome::failure(ErrorClass::Server));
    let mut call = tokio_test::task::spawn(retry.layer(OnceReady::default()).oneshot(()));
    tokio_test::assert_pending!(call.poll());
    advance(Duration::from_millis(100)).await;
    let error = tokio_test::assert_ready!(call.poll()).expect_err("it fails");
    assert_eq!(error.to_string(), "broken");
    let seen = retry.handle().snapshot();
    assert_eq!((seen.counts.failed, seen.counts.retries, seen.budget.spent), (1, 0, 0));
    assert!((seen.budget.balance - 10.2).abs() < 1e-3, "the refund comes before the future is dropped");
}

#[tokio::test(start_paused = true)]
async fn a_delay_that_works_is_learnt() {
    // It recovers half a second after it was asked first.
    let retry = layer(RetryConfig::adaptive(Duration::from_millis(10)).max_attempts(8).jitter(Jitter::None))
        .budget(RetryBudget::unlimited());
    let tries = |retry: RetryLayer<Protocol<ByPeer>>| async move {
        let began = Instant::now();
        let tried = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&tried);
        let recovering = service_fn(move |()| {
            counter.fetch_add(1, Ordering::Relaxed);
            let well = began.elapsed() > Duration::from_millis(500);
            async move { if well { Ok(()) } else { Err(Error::Inner(Peer(Answer::Fail(ErrorClass::Server)))) } }
        });
        let _ = retry.layer(recovering).oneshot(()).await;
        tried.load(Ordering::Relaxed)
    };
    let first = tries(retry.clone()).await;
    for _ in 0..200 {
        tries(retry.clone()).await;
    }
    let last = tries(retry.clone()).await;
    assert!(last < first, "{first} attempts at first, {last} when it had learnt");
}

#[tokio::test(start_paused = true)]
async fn case_43_clients_that_fail_together_do_not_come_back_together() {
    let interval = Duration::from_secs(1);
    let retry = layer(RetryConfig::fixed(interval).max_attempts(2)).seed(7).budget(RetryBudget::unlimited());
    let script = Script::new(std::iter::repeat_n(Act::BAD, 1_000));
    let calls: Vec<_> = (0..1_000).map(|_| tokio::spawn(retry.layer(script.service()).oneshot(()))).collect();
    for call in calls {
        call.await.expect("it does not panic").expect("the second attempt does well");
    }
    let mut slices = [0_u32; 21];
    for at in &script.asked()[1_000..] {
        slices[usize::try_from(at / 50).expect("within a second")] += 1;
    }
    // A twentieth of the interval has a twentieth of the calls, within four standard deviations.
    assert!(slices[..20].iter().all(|count| (20..80).contains(count)), "{slices:?}");
}

#[tokio::test(start_paused = true)]
async fn layers_share_a_budget() {
    let budget = RetryBudgetConfig::new().reserve(1).without_health_gate().build().expect("valid");
    let (one, other) = (layer(SEQUENCE).budget(budget.clone()), layer(SEQUENCE).budget(budget.clone()));
    let _ = one.layer(Script::new([Act::BAD; 9]).service()).oneshot(()).await;
    let _ = other.layer(Script::new([Act::BAD; 9]).service()).oneshot(()).await;
    assert_eq!(other.handle().snapshot().counts.rejected_by_ratio, 1);
    assert_eq!(budget.snapshot().spent, 1);
    let well: Retry<_, Protocol<ByPeer, CloneRequest>> = one.layer(Script::default().service());
    for _ in 0..10 {
        well.clone().oneshot(()).await.expect("it does well");
    }
    assert!((budget.snapshot().balance - (12.0 * 0.2 - 0.0)).abs() < 1e-3, "{:?}", budget.snapshot());
}

#[tokio::test(start_paused = true)]
async fn a_request_first_rejected_by_one_endpoint_counts_as_a_request() {
    let budget = RetryBudgetConfig::new().ratio(1.0).reserve(0).build().expect("valid");
    let retry = layer(SEQUENCE.other_endpoints()).budget(budget.clone());
    for _ in 0..10 {
        let turned = Arc::new(AtomicU32::new(0));
        let once = service_fn(move |()| {
            let first = turned.fetch_add(1, Ordering::Relaxed) == 0;
            let closed = || Rejected::new(Name::new("endpoint"), Reason::CircuitOpen(Trip::ByHand));
            async move { if first { Answered::Err(Error::Rejected(closed())) } else { Ok(()) } }
        });
        retry.layer(once).oneshot(()).await.expect("the second one takes it");
    }
    assert!((budget.snapshot().balance - 10.0).abs() < 1e-3, "{:?}", budget.snapshot());
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_fails_at_once_does_not_keep_the_task_from_other_work() {
    let retry =
        layer(RetryConfig::fixed(Duration::ZERO).max_attempts(u32::MAX)).budget(RetryBudget::unlimited());
    let failing =
        service_fn(|()| async { Err::<(), _>(Error::Inner(Peer(Answer::Fail(ErrorClass::Server)))) });
    let mut call = tokio_test::task::spawn(retry.layer(failing).oneshot(()));
    for polls in 1..100 {
        tokio_test::assert_pending!(call.poll());
        assert!(call.is_woken());
        assert_eq!(retry.handle().snapshot().counts.retries, polls - 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_over_holds_nothing() {
    let (request, script) = (Arc::new(()), Script::default());
    let service =
        ServiceBuilder::new().layer(layer(SEQUENCE)).map_request(|_: Arc<()>| ()).service(script.service());
    let mut call = Box::pin(service.oneshot(Arc::clone(&request)));
    call.as_mut().await.expect("it does well");
    assert_eq!(Arc::strong_count(&request), 1);
    drop(call);
}

#[tokio::test(start_paused = true)]
async fn only_the_adaptive_sequence_is_learnt_from() {
    let config = RetryConfig::adaptive(Duration::from_millis(50))
        .class_delay(ErrorClass::RateLimit, Duration::from_secs(10));
    let retry = layer(config);
    let limited = Script::new([Act::now(Answer::Fail(ErrorClass::RateLimit))]);
    retry.layer(limited.service()).oneshot(()).await.expect("the second attempt does well");
    assert_eq!(retry.handle().snapshot().learnt_delay, None);
    retry.layer(Script::new([Act::BAD]).service()).oneshot(()).await.expect("the second attempt does well");
    assert!(retry.handle().snapshot().learnt_delay.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_history_says_why_a_call_failed() {
    let retry = layer(SEQUENCE.max_attempts(2));
    let _ = retry.layer(Script::new([Act::BAD, Act::BAD]).service()).oneshot(()).await;
    let stops: Vec<_> = retry.handle().snapshot().history.iter().map(|it| it.stop).collect();
    assert_eq!(stops, [None, Some(Stop::Exhausted)]);
}
