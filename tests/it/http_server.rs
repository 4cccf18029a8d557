//! A server that answers rejected calls, over real sockets.

use std::{future::pending, time::Duration};

use axum::{Router, http::StatusCode, routing::get};
use serde_json::Value;
use tower::ServiceBuilder;
use tower_reliability::{
    BoxError, BoxErrorClassifier, ReliabilityStack,
    circuit_breaker::CircuitBreakerConfig,
    http::{HttpClassifier, RejectionLayer},
};

use crate::peers::serve;

async fn fetch(address: &str, path: &str) -> (StatusCode, Option<String>, Value) {
    let response = reqwest::get(format!("http://{address}{path}")).await.expect("an answer");
    let retry_after =
        response.headers().get("retry-after").map(|value| value.to_str().expect("text").to_owned());
    let status = response.status();
    let body = response.text().await.expect("a body");
    (status, retry_after, serde_json::from_str(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn case_74_an_open_circuit_answers_503_and_names_layer_and_reason_only_in_detail() {
    let stack = ReliabilityStack::builder()
        .circuit_breaker(
            CircuitBreakerConfig::consecutive(2).open_for(Duration::from_secs(5)).open_jitter(0.0),
        )
        .classify(HttpClassifier::new())
        .build()
        .expect("in range");
    let app = || {
        Router::new()
            .route("/", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
            .route("/other", get(|| async { "hello" }))
    };
    let plain = serve(app().layer((RejectionLayer::new(), stack.clone()))).await;
    let detailed = serve(app().layer((RejectionLayer::new().detailed(), stack))).await;
    for _ in 0..2 {
        assert_eq!(fetch(&plain, "/").await.0, 500);
    }
    // The jitter adds up to a quarter of the wait.
    let waits = |retry_after: Option<String>| {
        let seconds = retry_after.and_then(|seconds| seconds.parse().ok()).expect("a number");
        (5..=7).contains::<u32>(&seconds)
    };
    let (status, retry_after, problem) = fetch(&plain, "/other").await;
    assert!(status == 503 && waits(retry_after));
    assert_eq!(problem["detail"], "The service cannot take the request at the moment.");
    assert!(problem.get("layer").is_none(), "{problem}");

    let (status, retry_after, problem) = fetch(&detailed, "/other").await;
    assert!(status == 503 && waits(retry_after));
    assert_eq!(problem["detail"], "circuit open (consecutive failures: 2)");
    assert_eq!(problem["layer"], "circuit_breaker");
}

#[tokio::test]
async fn a_handler_that_hangs_answers_504() {
    let stack = ReliabilityStack::builder().timeout(Duration::from_millis(50)).build().expect("in range");
    let app = Router::new().route("/", get(pending::<&'static str>)).layer((RejectionLayer::new(), stack));
    let (status, retry_after, problem) = fetch(&serve(app).await, "/").await;
    assert_eq!((status.as_u16(), retry_after), (504, None));
    assert_eq!(problem["status"], 504);
}

#[tokio::test]
async fn a_boxed_rejection_is_answered_too_and_other_errors_pass() {
    use tower::{ServiceExt, service_fn};
    let breaker =
        CircuitBreakerConfig::consecutive(1).build().expect("in range").classify(BoxErrorClassifier);
    let service = ServiceBuilder::new()
        .layer(RejectionLayer::new())
        .layer(&breaker)
        .service(service_fn(|()| async { Err::<http::Response<String>, BoxError>("down".into()) }));
    let error = service.clone().oneshot(()).await.expect_err("no rejection yet");
    assert_eq!(error.to_string(), "down");
    assert_eq!(service.oneshot(()).await.expect("an answer").status(), 503);
}
