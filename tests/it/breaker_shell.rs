//! What the machine's own tests cannot see: that its shell shows it everything, in time, and keeps its promises.

use std::{
    future::{Ready, ready},
    task::Poll,
    time::Duration,
};

use futures::poll;
use tokio::time::advance;
use tower::{Layer, Service, ServiceExt, service_fn, util::ServiceFn};
use tower_reliability::{
    CircuitState, Error, ErrorClass, Outcome, ReliabilityStack, Trip,
    circuit_breaker::{CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, Window},
};

const SECOND: Duration = Duration::from_secs(1);

type Answer = Ready<Result<(), Error<std::io::Error>>>;
type Classify = fn(Result<&(), &Error<std::io::Error>>) -> Outcome;
type Breaker = CircuitBreaker<ServiceFn<fn(bool) -> Answer>, Classify>;

fn answer(good: bool) -> Answer {
    ready(if good { Ok(()) } else { Err(Error::Inner(std::io::ErrorKind::Other.into())) })
}

fn classify(result: Result<&(), &Error<std::io::Error>>) -> Outcome {
    result.map_or(Outcome::failure(ErrorClass::Server), |()| Outcome::Success)
}

fn layer(config: CircuitBreakerConfig) -> CircuitBreakerLayer<Classify> {
    config.build().expect("in range").classify(classify as Classify)
}

fn breaker(layer: &CircuitBreakerLayer<Classify>) -> Breaker {
    layer.layer(service_fn(answer as fn(bool) -> Answer))
}

async fn call(service: &mut Breaker, good: bool) -> bool {
    service.ready().await.expect("it is ready").call(good).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn case_15_healthy_calls_alone_move_a_window_over_time() {
    let layer = layer(CircuitBreakerConfig::new().window(Window::Time(10 * SECOND)));
    let mut service = breaker(&layer);
    call(&mut service, true).await;
    for _ in 0..60 {
        advance(SECOND).await;
        for _ in 0..20 {
            assert!(call(&mut service, true).await);
        }
    }
    assert_eq!(layer.handle().snapshot().window_calls, 200);
    for nth in 0..40 {
        call(&mut service, nth % 2 == 0).await;
    }
    assert_eq!(layer.handle().state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_window_over_time_forgets_what_was_healthy_too() {
    let config = CircuitBreakerConfig::new().window(Window::Time(10 * SECOND)).min_requests(4);
    let layer = layer(config);
    let mut service = breaker(&layer);
    for _ in 0..1_000 {
        call(&mut service, true).await;
    }
    advance(11 * SECOND).await;
    for good in [false, true, false, true] {
        call(&mut service, good).await;
    }
    assert_eq!(layer.handle().snapshot().last_trip, Some(Trip::FailureRate { failed: 2, total: 4 }));
}

/// A circuit over a service that waits, at the end of its open period.
async fn waiting(config: CircuitBreakerConfig) -> (CircuitBreakerLayer<Classify>, Breaker) {
    let layer = layer(config.open_jitter(0.0)).wait_while_open();
    let mut service = breaker(&layer);
    call(&mut service, false).await;
    assert_eq!(layer.handle().state(), CircuitState::Open);
    advance(5 * SECOND).await;
    (layer, service)
}

#[tokio::test(start_paused = true)]
async fn case_20_a_ready_service_that_is_seldom_called_closes_its_circuit() {
    let (layer, mut service) = waiting(CircuitBreakerConfig::consecutive(1)).await;
    for _ in 0..2 {
        service.ready().await.expect("it has a place");
        advance(61 * SECOND).await;
        assert!(service.call(true).await.is_ok());
    }
    assert_eq!(layer.handle().state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_place_that_was_lost_is_asked_for_again() {
    let config = CircuitBreakerConfig::consecutive(1).half_open_probes(1).half_open_successes(1);
    let (layer, mut first) = waiting(config).await;
    let mut second = breaker(&layer);
    first.ready().await.expect("it has the place");
    assert!(poll!(second.ready()).is_pending());
    advance(31 * SECOND).await;
    assert!(matches!(poll!(second.ready()), Poll::Ready(Ok(_))));
    assert!(poll!(first.ready()).is_pending(), "there is one place, and the other has it");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_ready_waits_when_the_circuit_opens() {
    let layer = layer(CircuitBreakerConfig::consecutive(1)).wait_while_open();
    let (mut first, mut second) = (breaker(&layer), breaker(&layer));
    first.ready().await.expect("the circuit is closed");
    call(&mut second, false).await;
    assert!(poll!(first.ready()).is_pending());
    let counts = layer.handle().snapshot().counts;
    assert_eq!((counts.failures, counts.ignored, counts.rejected), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn during_a_ramp_a_service_that_waits_asks_again_long_before_its_end() {
    let ramp = 600 * SECOND;
    let config = CircuitBreakerConfig::consecutive(1).half_open_probes(1).half_open_successes(1).ramp(ramp);
    for _ in 0..20 {
        let (layer, mut service) = waiting(config).await;
        assert!(call(&mut service, true).await);
        let began = tokio::time::Instant::now();
        while poll!(breaker(&layer).ready()).is_ready() {}
        // It asks twenty times in the course of the ramp, so it is admitted in the first half but once in 5 000 times.
        breaker(&layer).ready().await.expect("in the end");
        assert!(began.elapsed() < ramp, "{:?}", began.elapsed());
        assert_eq!(layer.handle().state(), CircuitState::Ramping);
    }
}

#[tokio::test]
async fn case_22_equal_limits_on_the_real_clock_are_timeouts() {
    let limit = Duration::from_millis(20);
    let stack = ReliabilityStack::builder()
        .timeout(limit)
        .circuit_breaker(CircuitBreakerConfig::consecutive(2))
        .attempt_timeout(limit)
        .deadlines(tower_reliability::http::RequestExtensions)
        .build()
        .expect("they go together");
    let client =
        stack.layer(service_fn(|_: http::Request<()>| std::future::pending::<Result<(), std::io::Error>>()));
    for _ in 0..2 {
        assert!(client.clone().oneshot(http::Request::new(())).await.is_err());
    }
    assert_eq!(stack.circuit_breaker().state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_listener_may_join_while_the_breaker_runs() {
    let layer = layer(CircuitBreakerConfig::consecutive(1));
    let mut service = breaker(&layer);
    call(&mut service, true).await;
    let (tell, told) = std::sync::mpsc::channel();
    layer.handle().listen(move |event: &tower_reliability::Event| {
        tell.send(event.to_string()).expect("the test listens");
    });
    call(&mut service, false).await;
    let heard: Vec<String> = told.try_iter().collect();
    assert_eq!(heard, ["circuit_breaker: circuit closed -> open (consecutive failures: 1)"]);
}
