//! The stack with a retry and a fallback in it.

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
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_reliability::{
    AsRejected, BoxError, BoxErrorClassifier, CircuitState, Error, ErrorClass, ReliabilityStack,
    circuit_breaker::CircuitBreakerConfig,
    fallback::FallbackConfig,
    retry::{Jitter, RetryConfig},
    retry_budget::RetryBudgetConfig,
};

const SECOND: Duration = Duration::from_secs(1);
const RETRY: RetryConfig = RetryConfig::fixed(SECOND).jitter(Jitter::None);

/// Refuses so many calls, and then answers with the number of the call.
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
async fn the_stages_may_be_named_in_any_order_and_stand_in_ours() {
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
    // What the peer says is the caller's to know; what this side turns away is answered.
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
    let error = stack.layer(hanging).oneshot(()).await.expect_err("nobody answers");
    // Attempts begin after 0, 2 and 4 s; one that began after 6 s would be too late, and nobody waits for it.
    assert_eq!(began.elapsed(), 5 * SECOND);
    assert_eq!(error.rejected().map(|rejected| rejected.layer().as_str()), Some("timeout"));
    assert_eq!(stack.retry().snapshot().counts.out_of_time, 1);
}

#[tokio::test(start_paused = true)]
async fn case_42_an_open_circuit_is_not_tried_again_and_costs_no_credit() {
    let stack = ReliabilityStack::builder()
        .retry(RETRY)
        .circuit_breaker(CircuitBreakerConfig::new())
        .build()
        .expect("they go together");
    stack.circuit_breaker().force_open();
    let error = stack.layer(refusing(0)).oneshot(()).await.expect_err("it is open");
    assert!(error.rejected().is_some());
    let seen = stack.retry().snapshot();
    assert_eq!((seen.counts.not_retryable, seen.budget.spent), (1, 0));
    assert!((seen.budget.balance - 10.0).abs() < 1e-3);
}

#[tokio::test(start_paused = true)]
async fn case_45_failures_that_are_tried_again_trip_the_circuit_and_end_the_call() {
    let stack = ReliabilityStack::builder()
        .retry(RETRY.max_attempts(5))
        .circuit_breaker(CircuitBreakerConfig::consecutive(2).open_for(60 * SECOND))
        .build()
        .expect("they go together");
    let error =
        stack.layer(refusing(9)).oneshot(()).await.expect_err("it fails twice, then the circuit is open");
    assert!(error.rejected().is_some());
    assert_eq!(stack.circuit_breaker().state(), CircuitState::Open);
    assert_eq!(stack.retry().snapshot().counts.retries, 2);
}

#[tokio::test(start_paused = true)]
async fn stacks_to_one_peer_may_share_a_budget() {
    let budget = RetryBudgetConfig::new().start(1).build().expect("valid");
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
        "the peer's own error"
    );
    assert_eq!(stack.retry().snapshot().counts.out_of_time, 1);
}
