//! Request bodies and the breaker: a body that the caller holds back says nothing about the backend, and a body that the
//! backend does not take does.

use std::{
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::{Body as AxumBody, Bytes};
use futures::{StreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    io::AsyncReadExt,
    net::TcpListener,
    task::JoinSet,
    time::{advance, sleep},
};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_reliability::{
    BoxError, CircuitState, Classifier, Deadline, DeadlineSource, ErrorClass, Outcome, PendingOutcome,
    circuit_breaker::CircuitBreakerConfig,
    http::{self as reliable, ReplayBody, ReplayLayer},
};

const SECOND: Duration = Duration::from_secs(1);

/// A body of so many bytes, each of them a while after the one before.
fn trickle(bytes: usize, gap: Duration) -> AxumBody {
    let frames = stream::iter(0..bytes).then(move |_| async move {
        sleep(gap).await;
        Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"x")))
    });
    AxumBody::new(StreamBody::new(frames))
}

/// Reads the body. Fails the path `/bad`.
async fn read(request: Request<ReplayBody<AxumBody>>) -> Result<Response<()>, Infallible> {
    let mut response = Response::new(());
    if request.uri().path() == "/bad" {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    let _ = request.into_body().collect().await;
    Ok(response)
}

#[tokio::test(start_paused = true)]
async fn case_22_a_connection_that_hangs_opens_the_circuit_for_requests_with_a_body_too() {
    let stack = reliable::stack()
        .circuit_breaker(CircuitBreakerConfig::consecutive(5))
        .attempt_timeout(2 * SECOND)
        .build()
        .expect("in range");
    let handle = stack.circuit_breaker();
    // The transport never asks for the body.
    let hanging = service_fn(|request: Request<ReplayBody<Full<Bytes>>>| async move {
        let _request = request;
        pending::<Result<Response<()>, Infallible>>().await
    });
    let client = ServiceBuilder::new().layer(ReplayLayer::new()).layer(stack).service(hanging);
    for _ in 0..5 {
        let request = Request::post("http://dead/").body(Full::new(Bytes::from("an order")));
        assert!(client.clone().oneshot(request.expect("a request")).await.is_err());
    }
    assert_eq!(handle.state(), CircuitState::Open, "{:?}", handle.snapshot());
}

#[tokio::test]
async fn case_22_a_stream_with_a_content_length_is_complete_when_it_was_sent() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut server = JoinSet::new();
    // Reads everything and answers nothing.
    server.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut buffer = [0; 4096];
                while socket.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    let stack = reliable::stack()
        .circuit_breaker(CircuitBreakerConfig::consecutive(3))
        .attempt_timeout(Duration::from_millis(100))
        .build()
        .expect("in range");
    let handle = stack.circuit_breaker();
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(stack)
        .service(Client::builder(TokioExecutor::new()).build_http());
    for _ in 0..3 {
        let body = AxumBody::from_stream(stream::iter([Ok::<_, BoxError>(Bytes::from_static(b"12345"))]));
        let request = Request::post(format!("http://{address}/")).header("content-length", "5").body(body);
        assert!(client.clone().oneshot(request.expect("a request")).await.is_err());
    }
    assert_eq!(handle.state(), CircuitState::Open, "{:?}", handle.snapshot());
}

#[tokio::test(start_paused = true)]
async fn case_66_a_slow_upload_is_no_slow_call() {
    let config = CircuitBreakerConfig::new().slow_call(Duration::from_millis(500), 0.5);
    let stack = reliable::stack().circuit_breaker(config).build().expect("in range");
    let handle = stack.circuit_breaker();
    let client = ServiceBuilder::new().layer(ReplayLayer::new()).layer(stack).service_fn(read);
    for _ in 0..30 {
        let request = Request::put("http://x/").body(trickle(6, Duration::from_millis(100)));
        client.clone().oneshot(request.expect("a request")).await.expect("an answer");
    }
    assert_eq!((handle.state(), handle.snapshot().window_slow), (CircuitState::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn case_85_a_probe_whose_caller_trickles_its_upload_keeps_no_other_call_out() {
    let config = CircuitBreakerConfig::consecutive(1).open_jitter(0.0);
    let stack = reliable::stack().circuit_breaker(config).build().expect("in range");
    let handle = stack.circuit_breaker();
    let client = ServiceBuilder::new().layer(ReplayLayer::new()).layer(stack).service_fn(read);
    let get = |path: &str| Request::get(path).body(AxumBody::empty()).expect("a request");
    let _ = client.clone().oneshot(get("/bad")).await;
    advance(SECOND).await;
    assert_eq!(handle.state(), CircuitState::HalfOpen);
    let trickled = Request::put("/").body(trickle(40, SECOND)).expect("a request");
    let mut upload = Box::pin(client.clone().oneshot(trickled));
    assert!(futures::poll!(&mut upload).is_pending());
    for _ in 0..30 {
        tokio::select! {
            biased;
            _ = &mut upload => unreachable!("it takes 40 s"),
            () = sleep(SECOND) => {}
        }
        client.clone().oneshot(get("/")).await.expect("admitted beside the upload");
    }
    assert_eq!((handle.state(), handle.snapshot().counts.trips), (CircuitState::Closed, 1));
}

/// Defers every outcome.
#[derive(Clone, Default)]
struct Streams(Arc<Mutex<Vec<PendingOutcome>>>);

impl Classifier<(), BoxError> for Streams {
    fn classify(&self, _: Result<&(), &BoxError>) -> Outcome {
        Outcome::Deferred
    }

    fn defer(&self, (): &mut (), pending: PendingOutcome) -> Result<(), PendingOutcome> {
        self.0.lock().expect("no panic").push(pending);
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct OneMilli;

impl DeadlineSource<()> for OneMilli {
    fn deadline(&self, (): &()) -> Option<Deadline> {
        Some(Deadline::after(Duration::from_millis(1)))
    }
}

#[tokio::test(start_paused = true)]
async fn case_65_a_stream_that_ends_with_the_callers_deadline_has_no_vote() {
    let streams = Streams::default();
    let layer = CircuitBreakerConfig::consecutive(5).build().expect("in range");
    let layer = layer.classify(streams.clone()).deadlines(OneMilli);
    let service = layer.layer(service_fn(|(): ()| async { Ok::<_, BoxError>(()) }));
    for _ in 0..5 {
        service.clone().oneshot(()).await.expect("a head");
        advance(Duration::from_millis(1)).await;
        let pending = streams.0.lock().expect("no panic").pop().expect("one");
        // The trailers say DEADLINE_EXCEEDED.
        pending.settle(Outcome::failure(ErrorClass::Timeout));
    }
    assert_eq!(layer.handle().state(), CircuitState::Closed, "{:?}", layer.handle().snapshot());
}
