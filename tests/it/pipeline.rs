//! The stack: its order, the reach of a rejected call, and its errors.

use std::{
    error::Error as _,
    future::{pending, ready},
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_reliability::{
    BoxError, BoxErrorClassifier, CircuitState, Error, ErrorClass, Outcome, Protocol, Reason, Rejected,
    ReliabilityStack,
    circuit_breaker::{Abandoned, CircuitBreakerConfig},
    outcome_of,
};

const SECOND: Duration = Duration::from_secs(1);

fn refused() -> io::Error {
    io::ErrorKind::ConnectionRefused.into()
}

#[tokio::test(start_paused = true)]
async fn case_59_a_rejected_call_reaches_no_inner_stage() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let stack = ReliabilityStack::builder()
        .attempt_timeout(SECOND)
        .circuit_breaker(CircuitBreakerConfig::consecutive(2))
        .timeout(5 * SECOND)
        .build()
        .expect("the numbers go together");
    let mut client = stack.layer(service_fn(move |()| {
        counted.fetch_add(1, Ordering::SeqCst);
        ready(Err::<(), _>(refused()))
    }));
    for _ in 0..5 {
        let _ = client.ready().await.expect("it is ready").call(()).await;
    }
    let counts = stack.circuit_breaker().snapshot().counts;
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert_eq!((counts.failures, counts.rejected), (2, 3));
    assert_eq!(stack.attempt_timeout().snapshot().timed_out, 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_timeout_is_a_failure_of_the_peer() {
    let stack = ReliabilityStack::builder()
        .timeout(10 * SECOND)
        .circuit_breaker(CircuitBreakerConfig::consecutive(2))
        .attempt_timeout(SECOND)
        .build()
        .expect("the numbers go together");
    let client = stack.layer(service_fn(|()| pending::<Result<(), io::Error>>()));
    for _ in 0..2 {
        let error = client.clone().oneshot(()).await.expect_err("the backend hangs");
        let rejected = error.rejected().expect("it is turned away");
        assert_eq!(rejected.layer().as_str(), "attempt_timeout");
    }
    assert_eq!(stack.circuit_breaker().state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn case_22_a_peer_that_answers_no_caller_trips_the_circuit() {
    let after_five_timeouts = async |config: CircuitBreakerConfig| {
        let stack =
            ReliabilityStack::builder().timeout(SECOND).circuit_breaker(config).build().expect("in range");
        let client = stack.layer(service_fn(|()| pending::<Result<(), io::Error>>()));
        for _ in 0..5 {
            assert!(client.clone().oneshot(()).await.is_err());
        }
        stack.circuit_breaker().state()
    };
    let config = CircuitBreakerConfig::consecutive(5);
    assert_eq!(after_five_timeouts(config).await, CircuitState::Open);
    assert_eq!(after_five_timeouts(config.abandoned(Abandoned::Ignore)).await, CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn case_60_a_rejection_survives_the_whole_stack_and_a_box_around_it() {
    let stack = ReliabilityStack::builder()
        .named("payments")
        .timeout(10 * SECOND)
        .circuit_breaker(CircuitBreakerConfig::consecutive(1).open_jitter(0.0).open_for(5 * SECOND))
        .build()
        .expect("in range");
    let client = stack.layer(service_fn(|()| ready(Err::<(), _>(refused()))));
    let failed = client.clone().oneshot(()).await.expect_err("the backend is down");
    let root = failed.source().expect("it has a source").downcast_ref::<io::Error>().expect("the root");
    assert_eq!(root.kind(), io::ErrorKind::ConnectionRefused);

    let boxed: BoxError = client.oneshot(()).await.expect_err("the circuit is open").into();
    let rejected = boxed.source().and_then(|source| source.downcast_ref::<Rejected>()).expect("a rejection");
    assert_eq!(rejected.layer().as_str(), "payments.circuit_breaker");
    assert_eq!(rejected.retry_after(), Some(5 * SECOND));
    assert!(matches!(rejected.reason(), Reason::CircuitOpen(_)));
    assert_eq!(outcome_of(boxed.as_ref()), Outcome::EndpointUnavailable);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_of_an_inner_layer_is_no_vote_in_an_outer_breaker() {
    let inner = CircuitBreakerConfig::consecutive(1).build().expect("in range");
    let outer = CircuitBreakerConfig::consecutive(3).build().expect("in range");
    let handle = outer.handle();
    let service = ServiceBuilder::new()
        .layer(outer)
        .layer(inner)
        .map_err(Error::inner)
        .service(service_fn(|()| ready(Err::<(), _>(refused()))));
    for _ in 0..20 {
        assert!(service.clone().oneshot(()).await.is_err());
    }
    let counts = handle.snapshot().counts;
    assert_eq!((counts.failures, counts.ignored), (1, 19));
}

#[tokio::test(start_paused = true)]
async fn flat_errors_leave_the_error_type_alone() {
    let stack = ReliabilityStack::builder()
        .timeout(SECOND)
        .circuit_breaker(CircuitBreakerConfig::new())
        .flat_errors()
        .classify(BoxErrorClassifier)
        .build()
        .expect("in range");
    let service = stack.layer(service_fn(|()| pending::<Result<(), BoxError>>()));
    let error: BoxError = service.oneshot(()).await.expect_err("the backend hangs");
    assert!(error.is::<Rejected>());
}

#[tokio::test(start_paused = true)]
async fn the_classifier_sees_the_errors_of_the_service() {
    let stack = ReliabilityStack::builder()
        .circuit_breaker(CircuitBreakerConfig::consecutive(1))
        .classify(|result: Result<&(), &u8>| match result {
            Err(0) | Ok(()) => Outcome::Success,
            Err(_) => Outcome::failure(ErrorClass::Server),
        })
        .build()
        .expect("in range");
    let client = stack.layer(service_fn(|code: u8| ready(Err::<(), _>(code))));
    let _ = client.clone().oneshot(0).await;
    assert_eq!(stack.circuit_breaker().state(), CircuitState::Closed);
    let _ = client.oneshot(1).await;
    assert_eq!(stack.circuit_breaker().state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_listener_of_the_stack_hears_every_transition_once() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    let stack = ReliabilityStack::builder()
        .named("db")
        .circuit_breaker(CircuitBreakerConfig::consecutive(1).half_open_successes(1).open_jitter(0.0))
        .listen(move |event: &tower_reliability::Event| {
            log.lock().expect("no panic").push(event.to_string());
        })
        .build()
        .expect("in range");
    let client = stack.layer(service_fn(|ok: bool| ready(if ok { Ok(()) } else { Err(refused()) })));
    let _ = client.clone().oneshot(false).await;
    tokio::time::advance(5 * SECOND).await;
    assert!(client.oneshot(true).await.is_ok());
    assert_eq!(
        *heard.lock().expect("no panic"),
        [
            "db.circuit_breaker: circuit closed -> open (consecutive failures: 1)",
            "db.circuit_breaker: circuit open -> half_open",
            "db.circuit_breaker: circuit half_open -> closed",
        ]
    );
}

#[test]
fn numbers_that_conflict_are_refused_by_name() {
    let error = ReliabilityStack::builder()
        .timeout(SECOND)
        .attempt_timeout(2 * SECOND)
        .build()
        .expect_err("an attempt cannot outlast the call");
    assert_eq!((error.field(), error.rule().contains("timeout")), ("attempt_timeout", true));
}

#[tokio::test(start_paused = true)]
async fn a_default_probe_timeout_yields_to_the_attempt_timeout() {
    let stack = ReliabilityStack::builder()
        .attempt_timeout(40 * SECOND)
        .circuit_breaker(CircuitBreakerConfig::consecutive(1).half_open_successes(1).open_jitter(0.0))
        .build()
        .expect("the default yields");
    let client = stack.layer(service_fn(|delay: Option<Duration>| async move {
        tokio::time::sleep(delay.ok_or_else(refused)?).await;
        Ok::<_, io::Error>(())
    }));
    client.clone().oneshot(None).await.expect_err("the backend is down");
    let open = stack.circuit_breaker().snapshot().retry_after.expect("the circuit is open");
    tokio::time::advance(open).await;
    let probe = tokio::spawn(client.oneshot(Some(35 * SECOND)));
    tokio::time::sleep(34 * SECOND).await;
    assert_eq!(stack.circuit_breaker().state(), CircuitState::HalfOpen);
    probe.await.expect("no panic").expect("the probe succeeds");
    assert_eq!(stack.circuit_breaker().state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn case_84_setters_in_any_order_build_the_same_stack() {
    let config = CircuitBreakerConfig::consecutive(2).open_jitter(0.0);
    let classifier = |result: Result<&(), &io::Error>| match result {
        Ok(()) => Outcome::Success,
        Err(_) => Outcome::failure(ErrorClass::Server),
    };
    let protocol = Protocol::new().classify(classifier);
    // One array holds both, so both have one type.
    let stacks = [
        ReliabilityStack::builder()
            .named("x")
            .protocol(protocol)
            .timeout(5 * SECOND)
            .circuit_breaker(config)
            .attempt_timeout(SECOND)
            .build(),
        ReliabilityStack::builder()
            .attempt_timeout(9 * SECOND)
            .circuit_breaker(CircuitBreakerConfig::new())
            .classify(classifier)
            .attempt_timeout(SECOND)
            .circuit_breaker(config)
            .timeout(5 * SECOND)
            .named("x")
            .build(),
    ];
    let mut told = Vec::new();
    for stack in stacks {
        let stack = stack.expect("the numbers go together");
        let client = stack.layer(service_fn(|answers: bool| async move {
            if answers { Err::<(), _>(refused()) } else { pending().await }
        }));
        let mut log = Vec::new();
        for answers in [false, true, true, false] {
            log.push(
                client.clone().oneshot(answers).await.expect_err("no call succeeds").report().to_string(),
            );
        }
        told.push((log, stack.circuit_breaker().snapshot().counts));
    }
    assert_eq!(told[0], told[1]);
    assert!(told[0].0[2].starts_with("call rejected: x.circuit_breaker: circuit open"), "{told:?}");
}

#[test]
fn an_empty_stack_passes_everything_and_wraps_the_error() {
    let stack = ReliabilityStack::builder().build().expect("there is nothing to refuse");
    let client = stack.layer(service_fn(|n: u8| ready(if n > 0 { Ok(n) } else { Err(refused()) })));
    let call = |n| futures::executor::block_on(client.oneshot(n));
    assert_eq!(call(1).expect("it passes"), 1);
    assert!(matches!(call(0), Err(Error::Inner(_))));
}
