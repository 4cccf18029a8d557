//! Snapshots as JSON: every room, with names for classes, states and reasons.

use std::{io, time::Duration};

use serde_json::{Value, json, to_value};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_reliability::{
    Error, ErrorClass, PerClass, ReliabilityStack,
    circuit_breaker::CircuitBreakerConfig,
    concurrency_limit::ConcurrencyLimitConfig,
    fallback::FallbackConfig,
    hedge::HedgeConfig,
    retry::{Jitter, RetryConfig},
    timeout::TimeoutConfig,
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn the_snapshot_of_every_stage_is_json_with_names() {
    let fallback = FallbackConfig::new().on(ErrorClass::Connection).build().expect("valid");
    let stack = ReliabilityStack::builder()
        .fallback(fallback.value("other"))
        .timeout(10 * SECOND)
        .retry(RetryConfig::fixed(SECOND).jitter(Jitter::None).max_attempts(2))
        .circuit_breaker(CircuitBreakerConfig::consecutive(2).open_jitter(0.0))
        .attempt_timeout(2 * SECOND)
        .build()
        .expect("the numbers go together");
    let client =
        stack.layer(service_fn(async |()| Err::<&str, _>(io::Error::from(io::ErrorKind::ConnectionRefused))));
    assert_eq!(client.clone().oneshot(()).await.expect("the fallback answers"), "other");
    tokio::time::advance(SECOND / 2).await;

    let breaker = to_value(stack.circuit_breaker().snapshot()).expect("it is JSON");
    assert_eq!((&breaker["state"], &breaker["retry_after"]), (&json!("open"), &json!("200ms")));
    assert_eq!(breaker["last_trip"], json!({ "consecutive_failures": 2 }));
    assert_eq!((&breaker["counts"]["failures"], &breaker["failure_rate"]), (&json!(2), &Value::Null));

    let retry = to_value(stack.retry().snapshot()).expect("it is JSON");
    assert_eq!(retry["counts"]["retries"], json!(1));
    assert_eq!(retry["classes"]["connection"], json!({ "failed": 2, "retried": 1, "recovered": 0 }));
    assert_eq!(retry["classes"]["server"]["failed"], json!(0));
    assert_eq!(
        retry["history"],
        json!([
            { "ago": "1s 500ms", "attempt": 1, "class": "connection", "stop": null, "delay": "0s", "latency": "0s" },
            { "ago": "500ms", "attempt": 2, "class": "connection", "stop": "exhausted", "delay": "1s", "latency": "0s" },
        ])
    );
    assert_eq!((&retry["learnt_delay"], &retry["budget"]["spent"]), (&Value::Null, &json!(1)));

    let fallback = to_value(stack.fallback().snapshot()).expect("it is JSON");
    assert_eq!(
        (&fallback["answered_failures"]["connection"], &fallback["unanswered"]),
        (&json!(1), &json!(0))
    );
    let timeouts = to_value(stack.attempt_timeout().snapshot()).expect("it is JSON");
    assert_eq!(timeouts, json!({ "timed_out": 0, "deadline_exceeded": 0, "upload_stalled": 0 }));
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_of_a_hedge_has_its_delays() {
    let layer = HedgeConfig::fixed(SECOND).build().expect("valid");
    let backend = service_fn(async |()| {
        tokio::time::sleep(3 * SECOND / 2).await;
        Ok::<_, io::Error>(())
    });
    assert!(layer.layer(backend).oneshot(()).await.is_ok());
    let hedge = to_value(layer.handle().snapshot()).expect("it is JSON");
    assert_eq!(hedge["classes"], json!([{ "class": 0, "delay": "1s", "samples": 0 }]));
    assert_eq!((&hedge["counts"]["hedges"], &hedge["counts"]["won_by_primary"]), (&json!(1), &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn values_per_class_print_and_serialise_with_the_names_of_the_classes() {
    let mut counts = PerClass::<u64>::default();
    counts[ErrorClass::RateLimit] = 3;
    let names =
        "connection: 0, timeout: 0, rate_limit: 3, server: 0, authentication: 0, validation: 0, unknown: 0";
    assert_eq!(counts.to_string(), names);
    let map = json!({
        "connection": 0, "timeout": 0, "rate_limit": 3, "server": 0, "authentication": 0, "validation": 0, "unknown": 0
    });
    assert_eq!(to_value(counts).expect("it is JSON"), map);

    let timeout = TimeoutConfig::new(SECOND).build().expect("valid");
    let hang = service_fn(|()| std::future::pending::<Result<(), Error<io::Error>>>());
    assert!(timeout.layer(hang).oneshot(()).await.is_err());
    assert_eq!(to_value(timeout.handle().snapshot()).expect("it is JSON")["timed_out"], json!(1));
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_of_a_concurrency_limit_is_json_with_names() {
    let layer = ConcurrencyLimitConfig::new(1).build().expect("valid");
    let mut service = layer.layer(service_fn(async |()| Ok::<_, Error<io::Error>>(())));
    let _calls = [service.call(()), service.call(())];
    let limit = to_value(layer.handle().snapshot()).expect("it is JSON");
    assert_eq!((&limit["limit"], &limit["in_flight"], &limit["waiting"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(limit["waiting_by_class"][2], json!(["normal", 1]));
    assert_eq!((&limit["shedding"], &limit["counts"]["limited"]), (&Value::Null, &json!(1)));
}
