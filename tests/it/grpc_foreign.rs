//! Answers that are no gRPC: from proxies, load balancers and servers of another protocol.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use http_body_util::BodyExt;
use tonic::body::Body;
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_reliability::{
    CircuitState, Classifier, ErrorClass, Outcome,
    circuit_breaker::CircuitBreakerConfig,
    grpc::{self, GrpcClassifier, GrpcResend, StreamOutcomeLayer},
};

use crate::{
    grpc_flaky::{AT_ONCE, health, retries},
    grpc_peers::{ask, channel, serve_h2},
};

const OPENS_AT_ONCE: CircuitBreakerConfig =
    CircuitBreakerConfig::consecutive(1).open_for(Duration::from_secs(60));

/// Heads without a `grpc-status`, none of which begins a gRPC answer.
const FOREIGN: [(u16, Option<&str>); 6] = [
    (200, Some("text/html")),
    (200, Some("application/json")),
    (200, None),
    (204, None),
    (204, Some("application/grpc")),
    (206, Some("application/grpc")),
];

fn head(status: u16, content_type: Option<&str>) -> Response<()> {
    let head = Response::builder().status(status);
    let head = content_type.into_iter().fold(head, |head, value| head.header("content-type", value));
    head.body(()).expect("a head")
}

/// A server that answers each call with this head and no body; its address, and how many calls reached it.
async fn answering(status: u16, content_type: Option<&'static str>) -> (String, Arc<AtomicU32>) {
    let calls = Arc::new(AtomicU32::new(0));
    let counter = calls.clone();
    let address = serve_h2(move |mut respond| {
        counter.fetch_add(1, Ordering::Relaxed);
        respond.send_response(head(status, content_type), true).expect("the stream is open");
    });
    (address.await, calls)
}

fn request() -> Request<Body> {
    Request::post("/grpc.health.v1.Health/Check").body(Body::empty()).expect("a request")
}

#[test]
fn case_77_a_head_that_is_no_grpc_is_a_failure_of_class_unknown() {
    for classifier in [GrpcClassifier::new(), GrpcClassifier::new().deferred()] {
        for (status, content_type) in FOREIGN {
            let outcome = classifier.classify(Ok::<_, &io::Error>(&head(status, content_type)));
            assert_eq!(outcome, Outcome::failure(ErrorClass::Unknown), "{status} {content_type:?}");
        }
    }
}

#[test]
fn case_77_a_foreign_content_type_voids_the_status_in_the_head() {
    let mut page = head(200, Some("text/html"));
    page.headers_mut().insert("grpc-status", "0".parse().expect("a value"));
    let outcome = GrpcClassifier::new().classify(Ok::<_, &io::Error>(&page));
    assert_eq!(outcome, Outcome::failure(ErrorClass::Unknown));
}

#[tokio::test]
async fn case_77_an_answer_that_is_no_grpc_opens_the_circuit_at_its_head() {
    for (status, content_type) in FOREIGN {
        let (address, _) = answering(status, content_type).await;
        let stack = grpc::stack().circuit_breaker(OPENS_AT_ONCE).build().expect("in range");
        let answer = stack.layer(channel(&address)).oneshot(request()).await.expect("an answer");
        assert_eq!(answer.status(), status);
        assert_eq!(stack.circuit_breaker().state(), CircuitState::Open, "{status} {content_type:?}");
    }
}

#[tokio::test]
async fn case_77_an_answer_that_is_no_grpc_is_not_asked_for_again() {
    for (status, content_type) in FOREIGN {
        let (address, calls) = answering(status, content_type).await;
        let retries = retries(AT_ONCE, GrpcResend::new().idempotent());
        health(&address, &retries).check(ask("")).await.expect_err("there is no message");
        assert_eq!(calls.load(Ordering::Relaxed), 1, "{status} {content_type:?}");
        assert_eq!(retries.handle().snapshot().counts.not_retryable, 1, "{status} {content_type:?}");
    }
}

#[tokio::test]
async fn case_77_an_answer_that_ends_without_a_status_opens_the_circuit_at_its_end() {
    for content_type in ["application/grpc", "application/grpc+proto", "Application/GRPC; charset=x"] {
        let (address, _) = answering(200, Some(content_type)).await;
        let classifier = GrpcClassifier::new();
        let stack = grpc::stack()
            .circuit_breaker(OPENS_AT_ONCE)
            .classify(classifier.deferred())
            .build()
            .expect("in range");
        let layers = ServiceBuilder::new().layer(StreamOutcomeLayer::new(classifier)).layer(&stack);
        let answer = layers.service(channel(&address)).oneshot(request()).await.expect("a head");
        assert_eq!(stack.circuit_breaker().state(), CircuitState::Closed, "the answer has begun");
        answer.into_body().collect().await.expect("an end");
        assert_eq!(stack.circuit_breaker().state(), CircuitState::Open, "{content_type}");
    }
}

#[tokio::test]
async fn case_77_an_answer_that_is_no_grpc_has_no_stream_to_tell_of() {
    let (address, _) = answering(200, Some("text/html")).await;
    let streams = StreamOutcomeLayer::new(GrpcClassifier::new())
        .on_end(|outcome| panic!("the head has told: {outcome:?}"));
    let layers = ServiceBuilder::new().layer(streams);
    let answer = layers.service(channel(&address)).oneshot(request()).await.expect("a head");
    answer.into_body().collect().await.expect("an end");
}
