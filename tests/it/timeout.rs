//! Timeouts: their beginning, their reasons, their drops, and their cost.

use std::{
    future::{pending, ready},
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_reliability::{
    BoxError, Deadline, DeadlineSource, Error, Outcome, Reason, Rejected, ReliabilityStack, Upload,
    timeout::{TimeoutConfig, TimeoutLayer, TimeoutSnapshot},
};

const SECOND: Duration = Duration::from_secs(1);

fn layer(limit: Duration) -> TimeoutLayer {
    TimeoutConfig::new(limit).build().expect("the limit is in range")
}

fn reason(result: Result<(), BoxError>) -> Reason {
    result.expect_err("it is rejected").downcast_ref::<Rejected>().expect("a rejection").reason()
}

/// Counts its live clones.
#[derive(Clone)]
struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A request that carries its deadline and its upload.
#[derive(Clone, Debug, Default)]
struct Request {
    deadline: Option<Deadline>,
    upload: Option<Upload>,
}

#[derive(Clone, Copy)]
struct InRequest;

impl DeadlineSource<Request> for InRequest {
    fn deadline(&self, request: &Request) -> Option<Deadline> {
        request.deadline
    }

    fn upload(&self, request: &Request) -> Option<Upload> {
        request.upload.clone()
    }

    fn propagate(&self, request: &mut Request, deadline: Deadline) {
        request.deadline = Some(deadline);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_ends_is_ended_at_the_limit() {
    let layer = layer(2 * SECOND);
    let service = layer.layer(service_fn(|()| pending::<Result<(), BoxError>>()));
    let began = Instant::now();
    let result = service.oneshot(()).await;
    assert_eq!(reason(result), Reason::Timeout { limit: 2 * SECOND });
    assert!(began.elapsed() <= 2 * SECOND + Duration::from_millis(1), "{:?}", began.elapsed());
    assert_eq!(layer.handle().snapshot().timed_out, 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_at_the_limit_is_an_answer() {
    let service = layer(2 * SECOND).layer(service_fn(|()| async {
        sleep(2 * SECOND).await;
        Ok::<_, BoxError>(())
    }));
    assert!(service.oneshot(()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_error_at_the_limit_is_the_end_of_the_time_and_one_before_it_is_an_error() {
    let fails_after = |delay| {
        layer(2 * SECOND).layer(service_fn(move |()| async move {
            sleep(delay).await;
            Err::<(), BoxError>("the transport has a timer too".into())
        }))
    };
    let timeout = Reason::Timeout { limit: 2 * SECOND };
    assert_eq!(reason(fails_after(2 * SECOND).oneshot(()).await), timeout);
    let early = fails_after(SECOND).oneshot(()).await;
    assert_eq!(early.expect_err("it fails").to_string(), "the transport has a timer too");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_found_long_after_the_limit_is_an_error() {
    let (sender, receiver) = tokio::sync::oneshot::channel::<BoxError>();
    let mut receiver = Some(receiver);
    let mut service = layer(2 * SECOND).layer(service_fn(move |()| {
        let receiver = receiver.take().expect("there is one call");
        async move { Err::<(), BoxError>(receiver.await.expect("an error is sent")) }
    }));
    let mut call = Box::pin(service.call(()));
    assert!((&mut call).now_or_never().is_none());
    sender.send("in time".into()).expect("the call waits");
    // The task of the caller is busy elsewhere until long after the limit.
    advance(2 * SECOND + Duration::from_millis(25)).await;
    assert_eq!(call.await.expect_err("it fails").to_string(), "in time");
}

#[tokio::test(start_paused = true)]
async fn case_13_the_time_begins_with_the_call_and_not_with_the_first_poll() {
    let mut service = layer(2 * SECOND).layer(service_fn(|()| pending::<Result<(), BoxError>>()));
    let call = service.ready().await.expect("it is ready").call(());
    advance(10 * SECOND).await;
    let polled = Instant::now();
    assert_eq!(reason(call.await), Reason::Timeout { limit: 2 * SECOND });
    assert_eq!(polled.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_deadline_counts_and_is_another_reason() {
    let layer = layer(5 * SECOND).deadlines(InRequest);
    let service = layer.layer(service_fn(|_: Request| pending::<Result<(), BoxError>>()));
    let began = Instant::now();
    let hurried = Request { deadline: Some(Deadline::after(SECOND)), ..Request::default() };
    assert_eq!(reason(service.clone().oneshot(hurried).await), Reason::DeadlineExceeded);
    assert!(began.elapsed() < 2 * SECOND);
    let patient = Request { deadline: Some(Deadline::after(60 * SECOND)), ..Request::default() };
    assert_eq!(reason(service.oneshot(patient).await), Reason::Timeout { limit: 5 * SECOND });
    let counts = layer.handle().snapshot();
    assert_eq!((counts.timed_out, counts.deadline_exceeded), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_expired_deadline_is_rejected_before_any_work() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let service = layer(SECOND).deadlines(InRequest).layer(service_fn(move |_: Request| {
        counted.fetch_add(1, Ordering::SeqCst);
        ready(Ok::<_, BoxError>(()))
    }));
    let late = Request { deadline: Some(Deadline::after(Duration::ZERO)), ..Request::default() };
    assert_eq!(reason(service.oneshot(late).await), Reason::DeadlineExceeded);
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn the_earlier_deadline_is_handed_on() {
    let service = layer(SECOND).deadlines(InRequest).layer(service_fn(|request: Request| {
        ready(Ok::<_, BoxError>(request.deadline.expect("it was set").remaining()))
    }));
    assert_eq!(service.clone().oneshot(Request::default()).await.expect("an answer"), SECOND);
    let hurried = Request { deadline: Some(Deadline::after(SECOND / 2)), ..Request::default() };
    assert_eq!(service.oneshot(hurried).await.expect("an answer"), SECOND / 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_may_have_a_limit_of_its_own() {
    let service = layer(SECOND)
        .deadlines(|seconds: &u64| (*seconds > 0).then(|| Duration::from_secs(*seconds)))
        .layer(service_fn(|_: u64| pending::<Result<(), BoxError>>()));
    assert_eq!(reason(service.clone().oneshot(7).await), Reason::Timeout { limit: 7 * SECOND });
    assert_eq!(reason(service.oneshot(0).await), Reason::Timeout { limit: SECOND });
}

#[tokio::test(start_paused = true)]
async fn the_inner_call_is_dropped_before_the_caller_learns_of_the_timeout() {
    let alive = Alive(Arc::new(AtomicUsize::new(1)));
    let count = Arc::clone(&alive.0);
    let mut alive = Some(alive);
    let mut service = layer(SECOND).layer(service_fn(move |()| {
        let held = alive.take();
        async move {
            let _held = held;
            pending::<Result<(), BoxError>>().await
        }
    }));
    let mut call = Box::pin(service.call(()));
    let result = (&mut call).await;
    assert_eq!(reason(result), Reason::Timeout { limit: SECOND });
    assert_eq!(count.load(Ordering::SeqCst), 0, "the future still holds the call");
}

#[tokio::test(start_paused = true)]
async fn case_07_a_dropped_call_counts_nothing_and_drops_the_inner_call() {
    let alive = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&alive);
    let layer = layer(SECOND);
    let mut service = layer.layer(service_fn(move |()| {
        counted.fetch_add(1, Ordering::SeqCst);
        let held = Alive(Arc::clone(&counted));
        async move {
            let _held = held;
            pending::<Result<(), BoxError>>().await
        }
    }));
    drop(service.call(()));
    let mut polled = Box::pin(service.call(()));
    assert!((&mut polled).now_or_never().is_none());
    drop(polled);
    advance(5 * SECOND).await;
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    assert_eq!(layer.handle().snapshot(), TimeoutSnapshot::default());
}

#[tokio::test(start_paused = true)]
async fn case_55_an_inner_panic_is_a_panic_and_not_a_timeout() {
    let layer = layer(SECOND);
    let service = layer.layer(service_fn(|()| async {
        sleep(SECOND / 2).await;
        panic!("inner");
        #[expect(unreachable_code, reason = "it names the type")]
        Ok::<(), BoxError>(())
    }));
    let result = AssertUnwindSafe(service.oneshot(())).catch_unwind().await;
    assert!(result.is_err());
    assert_eq!(layer.handle().snapshot(), TimeoutSnapshot::default());
}

#[tokio::test(start_paused = true)]
async fn case_75_a_service_that_uses_up_the_cooperative_budget_is_ended_at_the_limit() {
    let service = layer(SECOND).layer(service_fn(|()| async {
        loop {
            tokio::task::consume_budget().await;
        }
        #[expect(unreachable_code, reason = "it names the type")]
        Ok::<(), BoxError>(())
    }));
    let mut call = Box::pin(service.oneshot(()));
    let ticking = async {
        for _ in 0..20 {
            advance(SECOND / 10).await;
        }
    };
    let (result, ()) = tokio::join!(&mut call, ticking);
    assert_eq!(reason(result), Reason::Timeout { limit: SECOND });
}

#[tokio::test(start_paused = true)]
async fn case_64_another_limit_holds_for_the_calls_that_begin_afterwards() {
    let layer = layer(SECOND);
    let mut service = layer.layer(service_fn(|()| pending::<Result<(), BoxError>>()));
    let before = service.call(());
    layer.handle().update(TimeoutConfig::new(3 * SECOND)).expect("it is in range");
    let after = service.call(());
    assert_eq!(reason(before.await), Reason::Timeout { limit: SECOND });
    assert_eq!(reason(after.await), Reason::Timeout { limit: 3 * SECOND });
    assert!(layer.handle().update(TimeoutConfig::new(Duration::ZERO)).is_err());
    assert_eq!(layer.handle().limit(), 3 * SECOND);
}

/// A service that reports progress of the upload after each of these delays, and answers a while after the last one.
fn uploading(
    delays: &'static [u64],
    answer_after: u64,
) -> impl Service<Request, Response = (), Error = BoxError, Future: Send> + Clone {
    service_fn(move |request: Request| async move {
        let upload = request.upload.unwrap_or_default();
        for delay in delays {
            sleep(Duration::from_secs(*delay)).await;
            upload.progress();
        }
        if answer_after < STALLS {
            upload.complete();
        } else {
            upload.wait_for_caller();
        }
        sleep(Duration::from_secs(answer_after)).await;
        Ok(())
    })
}

const STALLS: u64 = 1_000;

fn upload() -> Request {
    Request { upload: Some(Upload::new()), ..Request::default() }
}

#[tokio::test(start_paused = true)]
async fn case_66_a_steady_upload_is_not_cut_and_the_peer_has_the_full_limit_after_it() {
    let layer = layer(5 * SECOND).deadlines(InRequest).after_upload();
    let began = Instant::now();
    let answer = layer.layer(uploading(&[4, 4, 4], 4)).oneshot(upload()).await;
    assert!(answer.is_ok() && began.elapsed() >= 16 * SECOND, "{answer:?}");

    let began = Instant::now();
    let late = layer.layer(uploading(&[4, 4, 4], 6)).oneshot(upload()).await;
    assert_eq!(reason(late), Reason::Timeout { limit: 5 * SECOND });
    assert!((17 * SECOND..18 * SECOND).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn case_66_an_error_at_the_first_limit_of_an_upload_that_went_on_is_an_error() {
    let layer = layer(5 * SECOND).deadlines(InRequest).after_upload();
    let fails = layer.layer(service_fn(|request: Request| async move {
        sleep(4 * SECOND).await;
        request.upload.expect("the request has a body").progress();
        sleep(SECOND).await;
        Err::<(), BoxError>("the connection was closed".into())
    }));
    let failed = fails.oneshot(upload()).await.expect_err("it fails");
    assert_eq!(failed.to_string(), "the connection was closed");
}

#[tokio::test(start_paused = true)]
async fn case_66_an_upload_that_stalls_ends_the_call_and_has_no_vote() {
    let layer = layer(5 * SECOND).deadlines(InRequest).after_upload();
    let began = Instant::now();
    let stalled = layer.layer(uploading(&[4, 4], STALLS)).oneshot(upload()).await.expect_err("it stalls");
    let rejected = stalled.downcast_ref::<Rejected>().expect("a rejection");
    assert_eq!(rejected.reason(), Reason::UploadStalled { limit: 5 * SECOND });
    assert_eq!(rejected.outcome(), Outcome::Ignored);
    assert!((13 * SECOND..14 * SECOND).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!((layer.handle().snapshot().upload_stalled, layer.handle().snapshot().timed_out), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn case_66_deadlines_and_the_total_timeout_are_absolute_under_an_upload() {
    let attempt = layer(5 * SECOND).deadlines(InRequest).after_upload();
    let hurried = Request { deadline: Some(Deadline::after(6 * SECOND)), ..upload() };
    let cut = attempt.layer(uploading(&[4, 4, 4], 4)).oneshot(hurried).await;
    assert_eq!(reason(cut), Reason::DeadlineExceeded);

    let total = layer(5 * SECOND).deadlines(InRequest);
    let cut = total.layer(uploading(&[4, 4, 4], 4)).oneshot(upload()).await;
    assert_eq!(reason(cut), Reason::Timeout { limit: 5 * SECOND });

    let stack = ReliabilityStack::builder()
        .timeout(10 * SECOND)
        .attempt_timeout(5 * SECOND)
        .deadlines(InRequest)
        .build()
        .expect("in range");
    let cut = stack.layer(uploading(&[4, 4, 4], 4)).oneshot(upload()).await.expect_err("it is cut");
    let Error::Rejected(rejected) = cut else { panic!("{cut:?}") };
    assert_eq!(
        (rejected.layer().as_str(), rejected.reason()),
        ("timeout", Reason::Timeout { limit: 10 * SECOND })
    );
    let answer = stack.layer(uploading(&[4, 4], 1)).oneshot(upload()).await;
    assert!(answer.is_ok(), "{answer:?}");
}

#[test]
fn case_21_the_extremes_are_refused_or_work() {
    let error = TimeoutConfig::new(Duration::ZERO).build().expect_err("0 is no limit");
    assert_eq!(error.to_string(), "limit must be above 0");
    let service = layer(Duration::MAX).layer(service_fn(|()| ready(Ok::<_, BoxError>(()))));
    assert!(service.oneshot(()).now_or_never().expect("it is ready").is_ok());
}

#[test]
fn a_service_that_is_ready_costs_no_timer() {
    // Outside a runtime a timer would panic.
    let service = layer(SECOND).layer(service_fn(|()| ready(Ok::<_, BoxError>(()))));
    assert!(service.oneshot(()).now_or_never().expect("it is ready").is_ok());
}
