//! Generated clients of tonic on top of the layers, against a server that fails in many ways.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use http_body::Frame;
use http_body_util::StreamBody;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::health_client::HealthClient;
use tower::{ServiceBuilder, ServiceExt, layer::util::Identity};
use tower_reliability::{
    CircuitState, Classifier, ErrorClass, Outcome, ReliabilityStack,
    circuit_breaker::CircuitBreakerConfig,
    grpc::{GrpcClassifier, GrpcRejectionLayer, GrpcTimeout, StreamOutcomeLayer},
};

use crate::{
    grpc_peers::{Scripted, ask, channel, serve, serve_h2, timeout},
    peers::{no_listener, serve_bytes},
};

#[tokio::test]
async fn the_circuit_opens_on_unavailable_and_the_caller_gets_a_status_with_a_pushback() {
    let server = Scripted::default();
    let address = serve(server.clone(), Identity::new()).await;
    let breaker = CircuitBreakerConfig::consecutive(3).open_jitter(0.0).open_for(Duration::from_secs(5));
    let stack = ReliabilityStack::builder()
        .circuit_breaker(breaker)
        .classify(GrpcClassifier::new())
        .build()
        .expect("in range");
    let layers = ServiceBuilder::new().layer(GrpcRejectionLayer::new()).layer(&stack);
    let mut client = HealthClient::new(layers.service(channel(&address)));
    for _ in 0..2 {
        client.check(ask("missing")).await.expect_err("there is no such service");
    }
    for _ in 0..3 {
        let status = client.check(ask("unavailable")).await.expect_err("it is down");
        assert_eq!(status.message(), "later");
    }
    assert_eq!(stack.circuit_breaker().state(), CircuitState::Open);
    let status = client.check(ask("")).await.expect_err("the circuit is open");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "temporarily unavailable");
    let pushback = status.metadata().get("grpc-retry-pushback-ms").expect("a time").to_str().expect("digits");
    let millis: u64 = pushback.parse().expect("digits");
    assert!((4_000..=5_000).contains(&millis), "{pushback}");
    assert_eq!(server.calls(), 5);
}

#[tokio::test]
async fn case_26_a_hint_and_a_dead_port_are_recognised_on_a_real_channel() {
    let address = serve(Scripted::default(), Identity::new()).await;
    let status = HealthClient::new(channel(&address)).check(ask("pushback")).await.expect_err("busy");
    let busy = Outcome::failure(ErrorClass::RateLimit).retry_after(Duration::from_millis(1_500));
    assert_eq!(GrpcClassifier::new().outcome_of_status(&status), busy);

    let request = || http::Request::post("/x.Y/Z").body(tonic::body::Body::empty()).expect("a request");
    let result = channel(&no_listener().await).oneshot(request()).await;
    let unprocessed = Outcome::failure(ErrorClass::Connection).unprocessed();
    assert_eq!(GrpcClassifier::new().classify(result.as_ref()), unprocessed);
    let status =
        HealthClient::new(channel(&no_listener().await)).check(ask("")).await.expect_err("no server");
    assert_eq!(GrpcClassifier::new().outcome_of_status(&status), unprocessed);

    let rubbish = serve_bytes(b"220 smtp.example.org ready\r\n").await;
    let result = channel(&rubbish).oneshot(request()).await;
    let outcome = GrpcClassifier::new().classify(result.as_ref());
    assert!(
        matches!(outcome.class(), Some(ErrorClass::Server | ErrorClass::Connection)),
        "{outcome:?} {result:?}"
    );
}

#[tokio::test]
async fn a_refused_stream_is_unprocessed_and_a_reset_has_the_class_of_its_reason() {
    let outcome = async |reason| {
        let address = serve_h2(move |mut respond| respond.send_reset(reason)).await;
        let status = HealthClient::new(channel(&address)).check(ask("")).await.expect_err("it is reset");
        let request = http::Request::post("/x.Y/Z").body(tonic::body::Body::empty()).expect("a request");
        let result = channel(&address).oneshot(request).await;
        let outcome = GrpcClassifier::new().classify(result.as_ref());
        assert_eq!(GrpcClassifier::new().outcome_of_status(&status), outcome, "{status:?}");
        outcome
    };
    let unprocessed = Outcome::failure(ErrorClass::Connection).unprocessed();
    assert_eq!(outcome(h2::Reason::REFUSED_STREAM).await, unprocessed);
    assert_eq!(outcome(h2::Reason::INTERNAL_ERROR).await, Outcome::failure(ErrorClass::Server));
    assert_eq!(outcome(h2::Reason::ENHANCE_YOUR_CALM).await, Outcome::failure(ErrorClass::RateLimit));
    assert_eq!(outcome(h2::Reason::CANCEL).await, Outcome::Ignored);
}

/// The outcomes that the layer tells of a stream that is polled so many times and then dropped.
async fn told(service: &str, polled: usize) -> Vec<Outcome> {
    told_of(&serve(Scripted::default(), Identity::new()).await, service, polled).await
}

async fn told_of(address: &str, service: &str, polled: usize) -> Vec<Outcome> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = log.clone();
    let streams = StreamOutcomeLayer::new(GrpcClassifier::new())
        .on_end(move |outcome| writer.lock().expect("no panic").push(outcome));
    // The reverse order of the two layers works as well: the body has a default.
    let layers =
        ServiceBuilder::new().layer(GrpcRejectionLayer::new()).map_err(tower_reliability::Error::inner);
    let mut client = HealthClient::new(layers.layer(streams).service(channel(address)));
    if let Ok(response) = client.watch(ask(service)).await {
        let mut stream = response.into_inner();
        for _ in 0..polled {
            let _ = stream.message().await;
        }
    }
    drop(client);
    log.lock().expect("no panic").clone()
}

#[tokio::test]
async fn case_26_a_stream_that_fails_midway_is_told_of_exactly_once() {
    assert_eq!(told("breaks", 5).await, [Outcome::failure(ErrorClass::Server)]);
    assert_eq!(told("", 5).await, [Outcome::Success]);
    assert_eq!(told("hangs", 2).await, [Outcome::Ignored]);
    assert_eq!(told("breaks", 0).await, [Outcome::Ignored]);
    assert_eq!(told("says it in the head", 0).await, []);
}

#[tokio::test]
async fn a_stream_that_is_reset_midway_is_told_of_once_and_is_not_unprocessed() {
    let address = serve_h2(|mut respond| {
        let head = http::Response::builder().header("content-type", "application/grpc");
        let mut stream = respond.send_response(head.body(()).expect("a head"), false).expect("it is open");
        stream.send_data(bytes::Bytes::from_static(&[0; 5]), false).expect("it is open");
        // A reset discards frames that are not on the wire yet.
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.send_reset(h2::Reason::REFUSED_STREAM);
        });
    })
    .await;
    assert_eq!(told_of(&address, "", 3).await, [Outcome::failure(ErrorClass::Connection)]);
}

#[tokio::test]
async fn a_successful_unary_call_is_told_of_at_its_trailers() {
    let address = serve(Scripted::default(), Identity::new()).await;
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = log.clone();
    let streams = StreamOutcomeLayer::new(GrpcClassifier::new())
        .on_end(move |outcome| writer.lock().expect("no panic").push(outcome));
    let mut client = HealthClient::new(ServiceBuilder::new().layer(streams).service(channel(&address)));
    client.check(ask("")).await.expect("it is well");
    client.check(ask("unavailable")).await.expect_err("that was in the head");
    assert_eq!(*log.lock().expect("no panic"), [Outcome::Success]);
}

/// The status of a call with this attempt timeout, and the two counts of the timeout.
async fn hanging(
    limit: Duration,
    request: Request<tonic_health::pb::HealthCheckRequest>,
) -> (Status, u64, u64) {
    let address = serve(Scripted::default(), Identity::new()).await;
    let stack = ReliabilityStack::builder()
        .circuit_breaker(CircuitBreakerConfig::new())
        .attempt_timeout(limit)
        .classify(GrpcClassifier::new())
        .deadlines(GrpcTimeout)
        .build()
        .expect("in range");
    let layers = ServiceBuilder::new().layer(GrpcRejectionLayer::new()).layer(&stack);
    let mut client = HealthClient::new(layers.service(channel(&address)));
    client.check(ask("")).await.expect("connected");
    let status = client.check(request).await.expect_err("the server hangs");
    let counts = stack.attempt_timeout().snapshot();
    (status, counts.timed_out, counts.deadline_exceeded)
}

#[tokio::test]
async fn a_timeout_is_deadline_exceeded_beside_the_timer_of_tonic() {
    for _ in 0..5 {
        let (status, timed_out, exceeded) =
            hanging(Duration::from_millis(300), Request::new(ask("hangs"))).await;
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        assert_eq!((timed_out, exceeded), (1, 0));
    }
}

#[tokio::test]
async fn a_timeout_of_the_caller_is_its_deadline_and_no_fault_of_the_server() {
    for _ in 0..5 {
        let mut request = Request::new(ask("hangs"));
        request.set_timeout(Duration::from_millis(300));
        let (status, timed_out, exceeded) = hanging(Duration::from_secs(5), request).await;
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        assert_eq!((timed_out, exceeded), (0, 1));
    }
}

#[tokio::test]
async fn the_server_learns_how_long_the_client_waits() {
    let address = serve(Scripted::default(), Identity::new()).await;
    let stack = ReliabilityStack::builder()
        .timeout(Duration::from_secs(10))
        .attempt_timeout(Duration::from_secs(2))
        .deadlines(GrpcTimeout)
        .build()
        .expect("in range");
    let layers = ServiceBuilder::new().layer(GrpcRejectionLayer::new()).layer(stack);
    let mut client: HealthClient<_> = HealthClient::new(layers.service::<Channel>(channel(&address)));
    let response = client.check(ask("")).await.expect("it is well");
    let seen = timeout(response.metadata().get("seen-timeout").expect("a header").to_str().expect("ascii"));
    assert!(seen <= Duration::from_secs(2) && seen > Duration::from_millis(1_500), "{seen:?}");
}

#[tokio::test]
async fn a_failure_of_the_sent_stream_is_no_failure_of_the_server() {
    // The server takes the stream and never answers.
    let address = serve_h2(std::mem::forget).await;
    for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionRefused, io::ErrorKind::TimedOut] {
        let frames = [Ok(Frame::data(bytes::Bytes::from_static(b"one"))), Err(io::Error::from(kind))];
        let body = tonic::body::Body::new(StreamBody::new(futures::stream::iter(frames)));
        let request = http::Request::post("/x.Y/Z").body(body).expect("a request");
        let result = channel(&address).oneshot(request).await;
        assert_eq!(GrpcClassifier::new().classify(result.as_ref()), Outcome::Ignored, "{result:?}");
    }
}
