//! Uploads and hang-ups of clients, which must not count against the server.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body as AxumBody, Bytes},
    http::StatusCode,
    routing,
};
use futures::{StreamExt, future::join_all, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_reliability::{
    BoxError, CircuitState, Reason, Rejected, ReliabilityStack, Upload,
    circuit_breaker::CircuitBreakerConfig,
    http::{self as reliable, BodyReadTimeoutLayer, HttpClassifier, RejectionLayer, ReplayBody, ReplayLayer},
    retry::RetryConfig,
};

use crate::peers::serve;

/// A body with so many frames, each 60 ms after the one before, that then ends or stalls.
fn slow_body(frames: usize, ends: bool) -> AxumBody {
    let frames = stream::iter(0..frames).then(|_| async {
        sleep(Duration::from_millis(60)).await;
        Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"part ")))
    });
    let rest = if ends { stream::empty().left_stream() } else { stream::pending().right_stream() };
    AxumBody::new(StreamBody::new(frames.chain(rest)))
}

/// The upload of each request that has one, and whether it began as complete.
type Uploads = Arc<Mutex<Vec<Option<(Upload, bool)>>>>;

/// Answers 500, after it has read the body. Notes the upload of each request.
async fn fail(request: Request<ReplayBody<Full<Bytes>>>, seen: Uploads) -> Result<Response<()>, Infallible> {
    let upload = request.extensions().get::<Upload>().cloned();
    let upload = upload.map(|upload| (upload.clone(), upload.is_complete()));
    request.into_body().collect().await.expect("a body");
    seen.lock().expect("no panic").push(upload);
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    Ok(response)
}

#[tokio::test]
async fn case_66_each_attempt_with_a_body_has_an_upload_of_its_own() {
    for (body, has_upload) in [("an order", true), ("", false)] {
        let seen = Uploads::default();
        let inner = Arc::clone(&seen);
        let retry = RetryConfig::fixed(Duration::from_millis(1)).build().expect("in range");
        let client = ServiceBuilder::new()
            .layer(ReplayLayer::new())
            .layer(retry.protocol(reliable::protocol()))
            .service(service_fn(move |request| fail(request, Arc::clone(&inner))));
        let request = Request::put("/").body(Full::new(Bytes::from(body))).expect("a request");
        assert_eq!(client.oneshot(request).await.expect("an answer").status(), 500);
        let seen = std::mem::take(&mut *seen.lock().expect("no panic"));
        assert_eq!(seen.len(), 3);
        for upload in seen {
            assert_eq!(upload.is_some(), has_upload, "{body:?}");
            assert!(upload.is_none_or(|(upload, was_complete)| !was_complete && upload.is_complete()));
        }
    }
}

#[tokio::test]
async fn case_66_a_steady_upload_is_not_cut_by_the_attempt_timeout() {
    let echo = serve(Router::new().route("/", routing::put(async |body: Bytes| body))).await;
    let stack = reliable::stack().attempt_timeout(Duration::from_millis(200)).build().expect("in range");
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(stack)
        .service(Client::builder(TokioExecutor::new()).build_http());
    let request = |ends| Request::put(format!("http://{echo}/")).body(slow_body(8, ends)).expect("a request");
    let response = client.clone().oneshot(request(true)).await.expect("an answer");
    assert_eq!(response.into_body().collect().await.expect("a body").to_bytes().len(), 40);

    let error = client.oneshot(request(false)).await.expect_err("the upload stalls");
    let limit = Duration::from_millis(200);
    assert_eq!(error.rejected().map(Rejected::reason), Some(Reason::UploadStalled { limit }));
}

#[tokio::test]
async fn a_backend_that_does_not_read_an_upload_has_timed_out() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let limit = Duration::from_millis(300);
    let stack = reliable::stack()
        .circuit_breaker(CircuitBreakerConfig::consecutive(1))
        .attempt_timeout(limit)
        .build()
        .expect("in range");
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(&stack)
        .service(Client::builder(TokioExecutor::new()).build_http());
    // Far more than the buffers of both sides hold. The connection is accepted by the kernel, and nothing reads it.
    let parts =
        stream::repeat(Bytes::from(vec![0; 1 << 20])).map(|part| Ok::<_, BoxError>(Frame::data(part)));
    let request = Request::put(format!("http://{address}/")).body(AxumBody::new(StreamBody::new(parts)));
    let error = client.oneshot(request.expect("a request")).await.expect_err("nothing reads it");
    assert_eq!(error.rejected().map(Rejected::reason), Some(Reason::Timeout { limit }));
    assert_eq!(stack.circuit_breaker().state(), CircuitState::Open);
}

#[tokio::test]
async fn case_66_twenty_stalled_uploads_are_answered_408_and_leave_breaker_and_budget_alone() {
    let upstream = serve(Router::new().route("/", routing::put(async |body: Bytes| body))).await;
    let (short, long) = (Duration::from_millis(200), Duration::from_secs(30));
    // Whichever of the two limits comes first.
    for (body_read, attempt) in [(short, long), (long, short)] {
        let stack = reliable::stack()
            .retry(RetryConfig::new())
            .circuit_breaker(CircuitBreakerConfig::consecutive(5))
            .attempt_timeout(attempt)
            .build()
            .expect("in range");
        let proxy = ServiceBuilder::new()
            .layer(RejectionLayer::new())
            .map_response(|response: Response<_>| response.map(AxumBody::new))
            .layer(BodyReadTimeoutLayer::new().limit(body_read))
            .layer(ReplayLayer::new())
            .layer(&stack)
            .service(Client::builder(TokioExecutor::new()).build_http());
        let answers = join_all((0..20).map(|_| {
            let request = Request::put(format!("http://{upstream}/")).body(slow_body(2, false));
            proxy.clone().oneshot(request.expect("a request"))
        }));
        for answer in answers.await {
            assert_eq!(answer.expect("an answer").status(), 408);
        }
        let breaker = stack.circuit_breaker();
        let (state, counts) = (breaker.state(), breaker.snapshot().counts);
        assert_eq!((state, counts.failures, counts.trips), (CircuitState::Closed, 0, 0));
        let retry = stack.retry().snapshot();
        assert_eq!((retry.counts.retries, retry.budget.balance), (0, 10.0));
    }
}

#[tokio::test]
async fn case_65_clients_that_hang_up_do_not_open_the_circuit_of_an_axum_server() {
    let slow = async || {
        sleep(Duration::from_millis(200)).await;
        "hello"
    };
    for timeout in [Duration::from_secs(10), Duration::from_millis(500)] {
        let stack = ReliabilityStack::builder()
            .timeout(timeout)
            .circuit_breaker(CircuitBreakerConfig::new().consecutive_failures(5))
            .classify(HttpClassifier::new())
            .build()
            .expect("in range");
        let breaker = stack.circuit_breaker();
        let app = Router::new().route("/", routing::get(slow)).layer((RejectionLayer::new(), stack));
        let address = serve(app).await;
        for _ in 0..10 {
            join_all((0..15).map(|_| hang_up(&address))).await;
        }
        sleep(Duration::from_millis(50)).await;
        let response = reqwest::get(format!("http://{address}/")).await.expect("an answer");
        assert_eq!(response.status(), 200);
        let counts = breaker.snapshot().counts;
        assert_eq!((breaker.state(), counts.failures), (CircuitState::Closed, 0), "{timeout:?}");
        assert!(counts.abandoned >= 100, "most requests were cut: {counts:?}");
    }
}

/// Sends a request and closes the connection 5 ms later.
async fn hang_up(address: &str) {
    let mut client = TcpStream::connect(address).await.expect("a server");
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("a server");
    sleep(Duration::from_millis(5)).await;
}
