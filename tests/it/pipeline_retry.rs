//! Stacks with a retry and a fallback.

use std::{
    future::{pending, ready},
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_reliability::{
    AsRejected, BoxError, BoxErrorClassifier, CircuitState, Error, ErrorClass, ReliabilityStack,
    circuit_breaker::CircuitBreakerConfig,
    fallback::FallbackConfig,
    retry::{Jitter, RetryConfig, Stop},
    retry_budget::RetryBudgetConfig,
};

const SECOND: Duration = Duration::from_secs(1);
const RETRY: RetryConfig = RetryConfig::fixed(SECOND).jitter(Jitter::None);

/// Refuses the first `calls` calls, then answers with the number of the call.
fn refusing(
    calls: u32,
) -> impl Service<(), Response = u32, Error = io::Error, Future = std::future::Ready<io::Result<u32>>> + Clone
{
    let asked = Arc::new(AtomicU32::new(0));
    service_fn(move |()| {
        let n = asked.fetch_add(1, Ordering::Relaxed);
        ready(if n < calls { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(n) })
    })
}

#[tokio::test(start_paused = true)]
async fn stages_may_be_named_in_any_order() {
    let stack = ReliabilityStack::builder()
        .attempt_timeout(SECOND)
        .retry(RETRY)
        .circuit_breaker(CircuitBreakerConfig::new())
        .fallback(FallbackConfig::new().build().expect("valid").value(77))
        .timeout(5 * SECOND)
        .named("prices")
        .build()
        .expect("they go together");
    assert_eq!(stack.layer(refusing(2)).oneshot(()).await.expect("the third attempt does well"), 2);
    assert_eq!(stack.circuit_breaker().snapshot().window_calls, 3, "every attempt is a sample");
    assert_eq!(stack.retry().snapshot().counts.recovered, 1);
    assert_eq!(
        (stack.retry().name().as_str(), stack.fallback().name().as_str()),
        ("prices.retry", "prices.fallback")
    );
    // A failure of the backend goes to the caller; a local rejection gets the fallback.
    assert!(matches!(stack.layer(refusing(9)).oneshot(()).await, Err(Error::Inner(_))));
    stack.circuit_breaker().force_open();
    assert_eq!(stack.layer(refusing(0)).oneshot(()).await.expect("there is another answer"), 77);
    assert_eq!(stack.fallback().snapshot().answered_rejections, 1);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_outlives_the_whole_call() {
    let stack = ReliabilityStack::builder()
        .timeout(5 * SECOND)
        .retry(RETRY.max_attempts(100))
        .attempt_timeout(SECOND)
        .build()
        .expect("they go together");
    let began = Instant::now();
    let hanging = service_fn(|()| pending::<io::Result<()>>());
    let error = stack.layer(hanging).oneshot(()).await.expect_err("the backend hangs");
    // Attempts begin after 0, 2 and 4 s. An attempt after 6 s would be too late.
    assert_eq!(began.elapsed(), 5 * SECOND);
    assert_eq!(error.rejected().map(|rejected| rejected.layer().as_str()), Some("timeout"));
    assert_eq!(stack.retry().snapshot().counts.out_of_time, 1);
}

#[tokio::test(start_paused = true)]
async fn case_42_an_open_circuit_is_not_retried_and_costs_no_withdrawal() {
    let stack = ReliabilityStack::builder()
        .retry(RETRY)
        .circuit_breaker(CircuitBreakerConfig::new())
        .build()
        .expect("they go together");
    stack.circuit_breaker().force_open();
    let error = stack.layer(refusing(0)).oneshot(()).await.expect_err("it is open");
    assert!(error.rejected().is_some());
    let seen = stack.retry().snapshot();
    assert_eq!((seen.counts.circuit_open, seen.counts.not_retryable, seen.budget.spent), (1, 0, 0));
    assert_eq!(seen.history[0].stop, Some(Stop::CircuitOpen));
    assert!((seen.budget.balance - 10.0).abs() < 1e-3);
}

#[tokio::test(start_paused = true)]
async fn case_45_and_79_the_failure_that_opens_the_circuit_is_the_answer() {
    let stack = ReliabilityStack::builder()
        .retry(RETRY.max_attempts(5))
        .circuit_breaker(CircuitBreakerConfig::consecutive(2).open_for(60 * SECOND))
        .build()
        .expect("they go together");
    let error = stack.layer(refusing(9)).oneshot(()).await.expect_err("it fails twice");
    assert!(matches!(error, Error::Inner(_)), "the failure of the backend and not {error}");
    assert_eq!(stack.circuit_breaker().state(), CircuitState::Open);
    let (retry, breaker) = (stack.retry().snapshot(), stack.circuit_breaker().snapshot());
    assert_eq!((retry.counts.retries, retry.counts.circuit_open, retry.budget.spent), (1, 1, 1));
    assert_eq!((breaker.counts.failures, breaker.counts.rejected), (2, 0), "each attempt is a sample");
}

#[tokio::test(start_paused = true)]
async fn case_79_a_circuit_that_opens_during_the_delay_ends_the_call_with_its_rejection() {
    let stack = ReliabilityStack::builder()
        .retry(RETRY)
        .circuit_breaker(CircuitBreakerConfig::new())
        .build()
        .expect("they go together");
    let call = tokio::spawn(stack.layer(refusing(9)).oneshot(()));
    tokio::time::sleep(SECOND / 2).await;
    // The failed response is gone by now, so there is nothing else to answer with.
    stack.circuit_breaker().force_open();
    let error = call.await.expect("it does not panic").expect_err("the circuit is open");
    assert!(error.rejected().is_some());
    assert_eq!(stack.retry().snapshot().counts.circuit_open, 1);
}

#[tokio::test(start_paused = true)]
async fn case_79_a_failure_is_returned_while_an_operator_holds_the_circuit_open() {
    let stack = ReliabilityStack::builder()
        .retry(RETRY)
        .circuit_breaker(CircuitBreakerConfig::new())
        .build()
        .expect("they go together");
    let breaker = stack.circuit_breaker();
    let service = stack.layer(service_fn(move |()| {
        breaker.force_open();
        ready(Err::<u32, _>(io::Error::from(io::ErrorKind::ConnectionRefused)))
    }));
    let error = service.oneshot(()).await.expect_err("it fails");
    assert!(matches!(error, Error::Inner(_)), "the failure of the backend and not {error}");
    assert_eq!(stack.retry().snapshot().counts.circuit_open, 1);
}

#[tokio::test(start_paused = true)]
async fn case_79_with_other_endpoints_an_open_circuit_does_not_end_the_call() {
    let stack = ReliabilityStack::builder()
        .retry(RETRY.other_endpoints())
        .circuit_breaker(CircuitBreakerConfig::consecutive(1))
        .build()
        .expect("they go together");
    stack.layer(refusing(9)).oneshot(()).await.expect_err("all three attempts fail");
    assert_eq!(stack.retry().snapshot().counts.circuit_open, 0);
    assert_eq!(stack.retry().snapshot().counts.exhausted, 1);
}

#[tokio::test(start_paused = true)]
async fn case_79_a_retry_by_hand_asks_the_circuit_it_was_given() {
    let breaker = CircuitBreakerConfig::consecutive(1).build().expect("valid");
    let handle = breaker.handle();
    let retry = RETRY.build().expect("valid");
    let retry = retry.stop_while(move || handle.state() == CircuitState::Open);
    let service = ServiceBuilder::new().layer(retry.clone()).layer(breaker);
    let inner = service.service(refusing(9).map_err(Error::Inner));
    let error = inner.oneshot(()).await.expect_err("it fails");
    assert!(matches!(error, Error::Inner(_)), "{error}");
    assert_eq!(retry.handle().snapshot().history[0].stop, Some(Stop::CircuitOpen));
}

#[tokio::test(start_paused = true)]
async fn stacks_to_one_backend_share_a_budget() {
    let budget = RetryBudgetConfig::new().reserve(1).build().expect("valid");
    let stack = || {
        let builder = ReliabilityStack::builder().retry(RETRY).retry_budget(budget.clone());
        builder.build().expect("they go together")
    };
    let (reads, writes) = (stack(), stack());
    assert!(reads.layer(refusing(1)).oneshot(()).await.is_ok());
    assert!(writes.layer(refusing(1)).oneshot(()).await.is_err());
    assert_eq!(budget.snapshot().spent, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stack_with_flat_errors_has_them_all_too() {
    let answer = |result: Result<&u32, &BoxError>| result.err()?.as_rejected().is_none().then_some(5);
    let fallback = FallbackConfig::new().on(ErrorClass::Connection).build().expect("valid").with(answer);
    let stack = ReliabilityStack::builder()
        .fallback(fallback)
        .retry(RETRY)
        .classify(BoxErrorClassifier)
        .flat_errors()
        .build()
        .expect("they go together");
    let answer = stack.layer(refusing(9).map_err(BoxError::from)).oneshot(()).await;
    assert_eq!(answer.expect("the fallback answers"), 5);
    assert_eq!(stack.retry().snapshot().counts.exhausted, 1);
}

#[tokio::test(start_paused = true)]
async fn other_numbers_do_not_lose_the_time_of_the_whole_call() {
    let stack =
        ReliabilityStack::builder().timeout(SECOND * 3 / 2).retry(RETRY).build().expect("they go together");
    stack.retry().update(RETRY.max_attempts(9)).expect("valid");
    assert!(
        matches!(stack.layer(refusing(9)).oneshot(()).await, Err(Error::Inner(_))),
        "the backend's own error"
    );
    assert_eq!(stack.retry().snapshot().counts.out_of_time, 1);
}
