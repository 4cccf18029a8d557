//! Clients over real sockets, hyper-util and reqwest, against servers that fail in many ways.

use std::{convert::Infallible, future::pending, io, time::Duration};

use axum::{Router, http::StatusCode, routing::get};
use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::io::AsyncReadExt;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_reliability::{
    CircuitState, Classifier, Deadline, Error, ErrorClass, Outcome, Reason, Rejected, ReliabilityStack,
    circuit_breaker::CircuitBreakerConfig,
    http::{BodyDeadlineLayer, HttpClassifier, RequestExtensions, RequestTimeout},
};

use crate::peers::{listen, no_listener, serve, serve_bytes, serve_bytes_and_hang};

type Hyper = Client<hyper_util::client::legacy::connect::HttpConnector, Empty<Bytes>>;

fn hyper_client() -> Hyper {
    Client::builder(TokioExecutor::new()).build_http()
}

fn request(address: &str, path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://{address}{path}")).body(Empty::new()).expect("a request")
}

async fn hyper_outcome(address: &str) -> Outcome {
    let result = hyper_client().ready().await.expect("it is ready").call(request(address, "/")).await;
    HttpClassifier::new().classify(result.as_ref())
}

async fn reqwest_outcome(client: reqwest::Client, address: &str) -> Outcome {
    let result = client.get(format!("http://{address}/")).send().await;
    HttpClassifier::new().classify(result.as_ref())
}

fn reqwest_client() -> reqwest::Client {
    reqwest::Client::builder().retry(reqwest::retry::never()).build().expect("a client")
}

#[tokio::test]
async fn case_26_broken_connections_are_named_over_hyper_and_reqwest() {
    let connection = Outcome::failure(ErrorClass::Connection);
    let dead = no_listener().await;
    assert_eq!(hyper_outcome(&dead).await, connection.unprocessed());
    assert_eq!(reqwest_outcome(reqwest_client(), &dead).await, connection.unprocessed());

    let silent = serve_bytes(b"").await;
    assert_eq!(hyper_outcome(&silent).await, connection);
    assert_eq!(reqwest_outcome(reqwest_client(), &silent).await, connection);

    let rubbish = serve_bytes(b"220 smtp.example.org ready\r\n").await;
    assert_eq!(hyper_outcome(&rubbish).await, Outcome::failure(ErrorClass::Server));
}

#[tokio::test]
async fn case_26_statuses_and_hints_are_read_off_real_responses() {
    let app = Router::new()
        .route("/", get(|| async { (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")], "") }));
    let address = serve(app).await;
    let hinted = Outcome::failure(ErrorClass::RateLimit).retry_after(Duration::from_secs(7));
    assert_eq!(hyper_outcome(&address).await, hinted);
    assert_eq!(reqwest_outcome(reqwest_client(), &address).await, hinted);
}

#[tokio::test]
async fn reqwests_own_timeout_is_a_timeout() {
    let app = Router::new().route("/", get(pending::<&'static str>));
    let address = serve(app).await;
    let client = reqwest::Client::builder().timeout(Duration::from_millis(50)).build().expect("a client");
    assert_eq!(reqwest_outcome(client, &address).await, Outcome::failure(ErrorClass::Timeout));
}

#[tokio::test]
async fn the_circuit_opens_on_5xx_of_a_real_server_and_stops_the_traffic() {
    let app = Router::new().route("/", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }));
    let address = serve(app).await;
    let stack = ReliabilityStack::builder()
        .timeout(Duration::from_secs(10))
        .attempt_timeout(Duration::from_secs(2))
        .circuit_breaker(CircuitBreakerConfig::consecutive(3))
        .classify(HttpClassifier::new())
        .deadlines(RequestExtensions)
        .build()
        .expect("in range");
    let mut client = stack.layer(hyper_client());
    for _ in 0..3 {
        let response =
            client.ready().await.expect("ready").call(request(&address, "/")).await.expect("an answer");
        assert_eq!(response.status(), 500);
        response.into_body().collect().await.expect("its body");
    }
    assert_eq!(stack.circuit_breaker().state(), CircuitState::Open);
    let rejected = client.ready().await.expect("ready").call(request(&address, "/")).await;
    assert!(matches!(rejected, Err(Error::Rejected(_))));
}

#[tokio::test]
async fn a_timeout_drops_the_connection_and_the_server_notices() {
    let (gone, noticed) = tokio::sync::oneshot::channel();
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut everything = Vec::new();
        // The read ends when the client closes the connection.
        let _ = stream.read_to_end(&mut everything).await;
        let _ = gone.send(everything);
    });
    let stack = ReliabilityStack::builder().timeout(Duration::from_millis(100)).build().expect("in range");
    let error =
        stack.layer(hyper_client()).oneshot(request(&address, "/")).await.expect_err("no server answers");
    assert!(matches!(error.rejected().expect("a rejection").reason(), Reason::Timeout { .. }));
    let sent =
        tokio::time::timeout(Duration::from_secs(5), noticed).await.expect("it notices").expect("it says so");
    assert!(sent.starts_with(b"GET / HTTP/1.1"));
}

#[tokio::test(start_paused = true)]
async fn a_request_brings_its_deadline_and_its_limit_in_its_extensions() {
    let stack = ReliabilityStack::builder()
        .timeout(Duration::from_secs(10))
        .attempt_timeout(Duration::from_secs(2))
        .deadlines(RequestExtensions)
        .build()
        .expect("in range");
    let client = stack.layer(service_fn(|request: Request<()>| async move {
        let deadline = request.extensions().get::<Deadline>().copied().expect("the stack sets one");
        Ok::<_, Infallible>(deadline.remaining())
    }));
    let remaining = async |request| client.clone().oneshot(request).await.expect("an answer");
    assert_eq!(remaining(Request::new(())).await, Duration::from_secs(2));

    let mut hurried = Request::new(());
    hurried.extensions_mut().insert(Deadline::after(Duration::from_secs(1)));
    assert_eq!(remaining(hurried).await, Duration::from_secs(1));

    let mut patient = Request::new(());
    patient.extensions_mut().insert(RequestTimeout(Duration::from_secs(60)));
    assert_eq!(remaining(patient).await, Duration::from_secs(60));
}

#[tokio::test]
async fn case_58_a_body_that_does_not_arrive_meets_the_deadline_of_its_request() {
    let address = serve_bytes_and_hang(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
    let stack = ReliabilityStack::builder()
        .timeout(Duration::from_millis(200))
        .deadlines(RequestExtensions)
        .build()
        .expect("in range");
    let client = ServiceBuilder::new().layer(stack).layer(BodyDeadlineLayer).service(hyper_client());
    let response = client.oneshot(request(&address, "/")).await.expect("the head arrives at once");
    let error = response.into_body().collect().await.expect_err("the body never ends");
    let rejected = error.downcast_ref::<Rejected>().expect("a rejection");
    assert_eq!(rejected.reason(), Reason::DeadlineExceeded);
}

#[tokio::test]
async fn a_failed_request_body_is_no_failure_of_the_peer() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionRefused, io::ErrorKind::TimedOut] {
        let frames = [Ok(Frame::data(Bytes::from_static(b"one"))), Err(io::Error::from(kind))];
        let body = StreamBody::new(futures::stream::iter(frames));
        let request = Request::put(format!("http://{address}/")).body(body).expect("a request");
        let client = Client::builder(TokioExecutor::new()).build_http();
        let error = client.request(request).await.expect_err("its body fails");
        assert_eq!(HttpClassifier::new().outcome_of_error(&error), Outcome::Ignored, "{error:?}");
    }
    server.abort();
}
