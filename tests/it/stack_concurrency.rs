//! A concurrency limit as a stage: whom it rejects, what that costs the other stages, and when its permit returns.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Request, Response};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::{Layer, Service, ServiceExt};
use tower_reliability::{
    BoxError, CloneRequest, Deadline, Error, Event, Outcome, PendingOutcome, Priority, Reason, Rejected,
    ReliabilityStack,
    circuit_breaker::CircuitBreakerConfig,
    concurrency_limit::ConcurrencyLimitConfig,
    hedge::HedgeConfig,
    http as reliable,
    retry::RetryConfig,
    testing::{Scripted, Step},
    wait_queue::WaitQueueConfig,
};

const ONE: ConcurrencyLimitConfig = ConcurrencyLimitConfig::new(1);
const SECOND: Duration = Duration::from_secs(1);

fn hangs<Req, Res>() -> Scripted<Req, Res, Infallible> {
    Scripted::new(|_: &Req| Step::hang())
}

fn rejected<Res: std::fmt::Debug>(result: Result<Res, Error<Infallible>>) -> Rejected {
    let Err(Error::Rejected(rejected)) = result else { panic!("{result:?}") };
    rejected
}

#[tokio::test(start_paused = true)]
async fn case_59_a_call_without_a_permit_takes_nothing_of_the_inner_stages() {
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let stack = ReliabilityStack::builder()
        .named("stock")
        .timeout(10 * SECOND)
        .concurrency_limit(ONE.queue(WaitQueueConfig::none()))
        .retry(RetryConfig::new())
        .hedge(HedgeConfig::fixed(SECOND))
        .circuit_breaker(CircuitBreakerConfig::new())
        .attempt_timeout(5 * SECOND)
        .listen(move |event: &Event| log.lock().expect("no panic").push(event.to_string()))
        .build()
        .expect("the numbers go together");
    let backend = hangs::<u32, ()>();
    let service = stack.layer(backend.clone());
    let mut first = spawn(service.clone().oneshot(0));
    assert_pending!(first.poll());
    let quiet = (stack.retry().snapshot(), stack.hedge().snapshot(), stack.circuit_breaker().snapshot());
    for _ in 0..100 {
        let rejected = rejected(service.clone().oneshot(1).await);
        assert_eq!(rejected.layer().as_str(), "stock.concurrency_limit");
        assert!(matches!(rejected.reason(), Reason::ConcurrencyLimited { .. }), "{rejected}");
    }
    let after = (stack.retry().snapshot(), stack.hedge().snapshot(), stack.circuit_breaker().snapshot());
    assert_eq!(quiet, after);
    assert_eq!((backend.calls(), stack.timeout().snapshot().timed_out), (1, 0));
    let told = told.lock().expect("no panic");
    let rejection = "stock.concurrency_limit: normal call rejected (limit of 1 in flight reached)";
    assert_eq!(*told, [rejection; 100], "one event per rejection, and none of another stage");
    drop(first);
    assert_eq!(stack.concurrency_limit().snapshot().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_holds_one_permit_for_all_its_attempts() {
    let stack = ReliabilityStack::builder()
        .flat_errors()
        .classify(tower_reliability::BoxErrorClassifier)
        .concurrency_limit(ONE)
        .retry(RetryConfig::fixed(SECOND))
        .hedge(HedgeConfig::fixed(SECOND))
        .build()
        .expect("in range");
    let backend = Scripted::<u32, (), BoxError>::new(|_: &u32| Step::fail("down".into()).after(2 * SECOND));
    let mut call = spawn(stack.layer(backend.clone()).oneshot(0));
    for _ in 0..20 {
        assert!(stack.concurrency_limit().snapshot().in_flight <= 1);
        if call.poll().is_ready() {
            break;
        }
        advance(SECOND / 2).await;
    }
    assert!(backend.calls() > 1, "there were several attempts");
    drop(call);
    assert_eq!(stack.concurrency_limit().snapshot().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn case_30_the_source_of_the_builder_orders_the_calls_that_wait() {
    let stack = ReliabilityStack::builder()
        .concurrency_limit(ONE)
        .priority(|n: &u32| if *n == 3 { Priority::Critical } else { Priority::Low })
        .build()
        .expect("in range");
    let backend = Scripted::<u32, (), Infallible>::new(|_: &u32| Step::answer(()).after(SECOND / 10));
    let service = stack.layer(backend.clone());
    let calls = [1, 2, 3].map(|n| service.clone().oneshot(n));
    for answer in futures::future::join_all(calls).await {
        answer.expect("each has its turn");
    }
    assert_eq!(backend.take_requests(), [1, 3, 2]);
}

#[tokio::test(start_paused = true)]
async fn the_queue_knows_the_deadline_of_the_protocol() {
    let stack = reliable::stack()
        .resend(CloneRequest)
        .concurrency_limit(ONE.queue(WaitQueueConfig::new().max_wait(60 * SECOND).without_shedding()))
        .build()
        .expect("in range");
    let service = stack.layer(hangs::<Request<()>, Response<()>>());
    let mut first = spawn(service.clone().oneshot(Request::new(())));
    assert_pending!(first.poll());
    let mut request = Request::new(());
    request.extensions_mut().insert(Deadline::at((Instant::now() + 2 * SECOND).into()));
    let began = Instant::now();
    let rejected = rejected(service.oneshot(request).await);
    assert_eq!(
        (rejected.layer().as_str(), rejected.reason()),
        ("concurrency_limit", Reason::DeadlineExceeded)
    );
    assert_eq!(began.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_total_timeout_ends_the_wait_for_a_permit() {
    let stack = ReliabilityStack::builder()
        .timeout(SECOND / 2)
        .concurrency_limit(Some(ONE))
        .build()
        .expect("the default wait is no reason for a refusal");
    let service = stack.layer(hangs::<u32, ()>());
    let mut first = spawn(service.clone().oneshot(1));
    assert_pending!(first.poll());
    let (began, limit) = (Instant::now(), stack.concurrency_limit().expect("it is present"));
    assert_eq!(rejected(service.oneshot(2).await).layer().as_str(), "timeout");
    assert_eq!((began.elapsed(), limit.snapshot().counts.cancelled), (SECOND / 2, 1));
}

/// Puts the pending outcomes of a response into the response.
#[derive(Clone)]
struct UntilDropped;

type Body = Arc<std::sync::Mutex<Vec<PendingOutcome>>>;

impl<E> tower_reliability::Classifier<Body, E> for UntilDropped {
    fn classify(&self, _: Result<&Body, &E>) -> Outcome {
        Outcome::Deferred
    }

    fn defer(&self, response: &mut Body, pending: PendingOutcome) -> Result<(), PendingOutcome> {
        response.lock().expect("no panic").push(pending);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn case_58_a_response_that_the_protocol_defers_holds_its_permit_beside_its_vote() {
    let stack = ReliabilityStack::builder()
        .classify(UntilDropped)
        .concurrency_limit(ONE)
        .circuit_breaker(CircuitBreakerConfig::new())
        .build()
        .expect("in range");
    let answers = Scripted::new(|_: &u32| Step::<_, Infallible>::answer(Body::default()));
    let mut service = stack.layer(answers);
    let response = service.ready().await.expect("ready").call(1).await.expect("it passes");
    assert_eq!(response.lock().expect("no panic").len(), 2, "the vote and the permit");
    let mut waits = spawn(service.call(2));
    assert_pending!(waits.poll());
    assert_eq!(stack.concurrency_limit().snapshot().in_flight, 1);
    drop(response);
    assert!(assert_ready!(waits.poll()).is_ok(), "it has the permit");
}

#[test]
fn a_wait_beyond_the_timeout_is_refused_by_both_names() {
    let patient = ONE.queue(WaitQueueConfig::new().max_wait(2 * SECOND));
    for (config, timeout, expected) in [
        (patient, SECOND, "concurrency_limit.queue.max_wait must be at most timeout"),
        (ConcurrencyLimitConfig::new(0), SECOND, "concurrency_limit.limit must be 1 to"),
        (ONE.queue(WaitQueueConfig::new().per_key(0)), SECOND, "concurrency_limit.queue.per_key must be"),
    ] {
        let builder = ReliabilityStack::builder().timeout(timeout).concurrency_limit(config);
        let error = builder.build().expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let builder = ReliabilityStack::builder().timeout(2 * SECOND).concurrency_limit(patient);
    assert!(builder.build().is_ok());
}
