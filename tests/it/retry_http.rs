//! Retries over real sockets: the requests that the server sees, and when they stop.

use std::{
    convert::Infallible,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Extension, Router, body::Body as AxumBody, response::IntoResponse, routing};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error as ClientError, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpSocket},
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::timeout,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_reliability::{
    BoxError, CallHistory, Error, Protocol,
    http::{
        Attempt, HttpClassifier, HttpResend, ReplayBody, ReplayLayer, ReportAttemptsLayer, RequestExtensions,
    },
    retry::{Jitter, RetryConfig, RetryLayer},
    retry_budget::RetryBudget,
    timeout::TimeoutConfig,
};

use crate::peers::{listen, serve};

/// Real time passes here, so the delays are short.
const SEQUENCE: RetryConfig = RetryConfig::fixed(Duration::from_millis(1)).jitter(Jitter::None);
/// Longer than anything that does not hang.
const PATIENCE: Duration = Duration::from_secs(5);

type HttpRetry<L = RequestExtensions> = RetryLayer<Protocol<HttpClassifier, HttpResend, L>>;

fn retry(config: RetryConfig) -> HttpRetry {
    config
        .build()
        .expect("valid")
        .classify(HttpClassifier::new())
        .resend(HttpResend::new())
        .deadlines(RequestExtensions)
}

/// hyper's client without its own retries and without a pool, so that every attempt is a connection.
fn hyper_client<B>() -> Client<HttpConnector, ReplayBody<B>>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send,
{
    Client::builder(TokioExecutor::new())
        .retry_canceled_requests(false)
        .pool_max_idle_per_host(0)
        .build_http()
}

fn client<B>(
    retry: &HttpRetry,
) -> impl Service<Request<B>, Response = Response<Incoming>, Error = ClientError, Future: Send>
+ Clone
+ Send
+ Sync
+ use<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let replay = ReplayLayer::new().max_bytes(1 << 20);
    ServiceBuilder::new().layer(replay).layer(retry.clone()).service(hyper_client())
}

fn request(method: Method, address: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let body = Full::new(body.into());
    Request::builder().method(method).uri(format!("http://{address}/")).body(body).expect("a request")
}

fn with_key(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    request.headers_mut().insert("idempotency-key", http::HeaderValue::from_static("7"));
    request
}

async fn text(response: Response<Incoming>) -> Bytes {
    response.into_body().collect().await.expect("a body").to_bytes()
}

/// A server that gives these answers in turn, then 200 with the request's body. It keeps `x-retry-attempt` of each
/// request.
fn answering(
    answers: impl IntoIterator<Item = (StatusCode, Option<&'static str>)>,
) -> (Router, Arc<Mutex<Vec<Option<String>>>>) {
    let numbers = Arc::new(Mutex::new(Vec::new()));
    let (seen, answers) = (Arc::clone(&numbers), answers.into_iter().collect::<Vec<_>>());
    let handler = move |headers: HeaderMap, body: Bytes| {
        let mut seen = seen.lock().expect("no thread panics with it");
        let answer = answers.get(seen.len()).copied();
        let number = headers.get("x-retry-attempt").map(|it| it.to_str().expect("text").to_owned());
        seen.push(number);
        async move {
            let (status, retry_after) = answer.unwrap_or((StatusCode::OK, None));
            let mut response = (status, body).into_response();
            if let Some(delay) = retry_after {
                response.headers_mut().insert("retry-after", http::HeaderValue::from_static(delay));
            }
            response
        }
    };
    (Router::new().route("/", routing::any(handler)), numbers)
}

const BUSY: (StatusCode, Option<&str>) = (StatusCode::SERVICE_UNAVAILABLE, None);

#[tokio::test]
async fn case_33_a_hint_of_the_server_is_waited_for_in_real_time() {
    let (app, _) = answering([(StatusCode::SERVICE_UNAVAILABLE, Some("1"))]);
    let (address, retry, began) = (serve(app).await, retry(SEQUENCE), Instant::now());
    let response = client(&retry).oneshot(request(Method::GET, &address, "")).await.expect("an answer");
    assert_eq!(response.status(), 200);
    let elapsed = began.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(3)).contains(&elapsed), "{elapsed:?}");
    assert!(retry.handle().snapshot().history[1].delay >= Duration::from_secs(1));
}

#[tokio::test]
async fn attempts_are_numbered_for_the_server_and_for_inner_layers() {
    let (app, numbers) = answering([BUSY, BUSY]);
    let (address, seen) = (serve(app).await, Arc::new(Mutex::new(Vec::new())));
    let below = Arc::clone(&seen);
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(retry(SEQUENCE))
        .map_request(move |request: Request<ReplayBody<Full<Bytes>>>| {
            let extensions = request.extensions();
            let history = extensions.get::<CallHistory>().expect("every attempt has one");
            let attempt = extensions.get::<Attempt>().expect("every attempt has one");
            below.lock().expect("no thread panics with it").push((*attempt, history.retries()));
            request
        })
        .service(hyper_client());
    let response = client.oneshot(request(Method::PUT, &address, "an order")).await.expect("an answer");
    assert_eq!(text(response).await, "an order");
    let second_and_third = [None, Some("1".to_owned()), Some("2".to_owned())];
    assert_eq!(*numbers.lock().expect("no thread panics with it"), second_and_third);
    let seen = seen.lock().expect("no thread panics with it");
    assert_eq!(*seen, [(Attempt(1), 0), (Attempt(2), 1), (Attempt(3), 2)]);
}

/// A listener that reads some of a request, and hangs up on it.
async fn hang_up_on_one(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().await.expect("a client");
    let mut some = [0; 10_000];
    stream.read_exact(&mut some).await.expect("more than that is sent");
}

/// Longer than the buffers of a socket, without repetition.
fn long_order() -> Bytes {
    (0..200_000_u32).flat_map(u32::to_le_bytes).collect()
}

#[tokio::test]
async fn case_40_a_post_with_a_key_is_sent_again_byte_for_byte_after_the_server_hung_up_in_its_midst() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        hang_up_on_one(&listener).await;
        let echo =
            routing::post(|body: AxumBody| async { body.collect().await.expect("a whole body").to_bytes() });
        axum::serve(listener, Router::new().route("/", echo)).await
    });
    let (retry, order) = (retry(SEQUENCE), long_order());
    let answer = client(&retry).oneshot(with_key(request(Method::POST, &address, order.clone()))).await;
    assert!(text(answer.expect("an answer")).await == order, "what arrived is what was sent");
    let counts = retry.handle().snapshot().counts;
    assert_eq!((counts.recovered, counts.retries), (1, 1));
    server.abort();
}

#[tokio::test]
async fn case_40_a_post_without_a_key_is_sent_once_and_its_error_is_the_servers() {
    let (listener, address) = listen().await;
    let (retry, order) = (retry(SEQUENCE), long_order());
    let call = client(&retry).oneshot(request(Method::POST, &address, order));
    let (answer, ()) = tokio::join!(call, hang_up_on_one(&listener));
    let error = answer.expect_err("no server answers");
    assert!(!error.is_connect(), "{error:?}");
    assert_eq!(retry.handle().snapshot().counts.not_resendable, 1);
    assert!(
        timeout(Duration::from_millis(50), listener.accept()).await.is_err(),
        "no further connection comes"
    );
}

#[tokio::test]
async fn a_post_that_was_refused_is_sent_when_the_server_is_there() {
    // A bound socket that does not listen refuses connections, and keeps the port.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = socket.local_addr().expect("it is bound").to_string();
    let (app, numbers) = answering([]);
    let server = Arc::new(Mutex::new(Some((socket, app))));
    let retry = retry(SEQUENCE);
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(retry.clone())
        .map_request(move |request: Request<ReplayBody<Full<Bytes>>>| {
            if request.extensions().get() == Some(&Attempt(3))
                && let Some((socket, app)) = server.lock().expect("no thread panics with it").take()
            {
                let listener = socket.listen(16).expect("it listens");
                tokio::spawn(async move { axum::serve(listener, app).await });
            }
            request
        })
        .service(hyper_client());
    let response = client.oneshot(request(Method::POST, &address, "an order")).await.expect("an answer");
    assert_eq!(text(response).await, "an order");
    assert_eq!(*numbers.lock().expect("no thread panics with it"), [Some("2".to_owned())]);
    assert_eq!(retry.handle().snapshot().counts.recovered, 1);
}

type Frames = UnboundedSender<Result<Frame<Bytes>, Infallible>>;

/// A request with a streamed body, and the sender of that body.
fn streaming(
    address: &str,
) -> (Frames, Request<impl Body<Data = Bytes, Error = Infallible> + Send + Unpin + use<>>) {
    let (sender, mut receiver) = unbounded_channel();
    let body = StreamBody::new(futures::stream::poll_fn(move |cx| receiver.poll_recv(cx)));
    (sender, Request::put(format!("http://{address}/")).body(body).expect("a request"))
}

fn feed(frames: &Frames, text: &'static [u8]) {
    frames.send(Ok(Frame::data(Bytes::from_static(text)))).expect("the body is there");
}

#[tokio::test]
async fn case_40_a_stream_above_the_cap_is_sent_once_and_the_answer_is_the_servers() {
    let (app, numbers) = answering([BUSY, BUSY, BUSY]);
    let (address, retry) = (serve(app).await, retry(SEQUENCE));
    for cap in [7, 8] {
        numbers.lock().expect("no thread panics with it").clear();
        let (frames, request) = streaming(&address);
        feed(&frames, b"one, ");
        feed(&frames, b"two");
        drop(frames);
        let replay = ReplayLayer::new().max_bytes(cap);
        let client = ServiceBuilder::new().layer(replay).layer(retry.clone()).service(hyper_client());
        let response = client.oneshot(request).await.expect("an answer");
        assert_eq!((response.status(), text(response).await), (BUSY.0, Bytes::from("one, two")));
        let sent = numbers.lock().expect("no thread panics with it").len();
        assert_eq!(sent, if cap < 8 { 1 } else { 3 }, "{cap} bytes are kept");
    }
    let counts = retry.handle().snapshot().counts;
    assert_eq!((counts.not_resendable, counts.exhausted), (1, 1));
}

#[tokio::test]
async fn two_hops_that_retry_make_three_requests_and_not_nine() {
    let (app, numbers) = answering([BUSY; 9]);
    let (address, inner, outer) = (serve(app).await, retry(SEQUENCE), retry(SEQUENCE));
    let onward = client(&inner);
    let handler = move |Extension(history): Extension<CallHistory>| async move {
        let mut request = request(Method::GET, &address, "");
        request.extensions_mut().insert(history);
        onward.oneshot(request).await.map_or(StatusCode::BAD_GATEWAY, |response| response.status())
    };
    let proxy = serve(Router::new().route("/", routing::get(handler)).layer(ReportAttemptsLayer)).await;
    let response = client(&outer).oneshot(request(Method::GET, &proxy, "")).await.expect("an answer");
    assert_eq!(response.status(), BUSY.0);
    assert_eq!(response.headers()["x-retry-attempt"], "2");
    assert_eq!(numbers.lock().expect("no thread panics with it").len(), 3);
    let (inner, outer) = (inner.handle().snapshot().counts, outer.handle().snapshot().counts);
    assert_eq!((inner.exhausted, inner.retries, outer.forbidden, outer.retries), (1, 2, 1, 0));
}

#[tokio::test]
async fn a_report_inside_a_retry_leaves_out_the_attempts_of_that_retry() {
    let (app, numbers) = answering([BUSY; 9]);
    let (address, retry) = (serve(app).await, retry(SEQUENCE));
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(retry.clone())
        .layer(ReportAttemptsLayer)
        .service(hyper_client());
    let response = client.oneshot(request(Method::GET, &address, "")).await.expect("an answer");
    assert_eq!((response.status(), response.headers().get("x-retry-attempt")), (BUSY.0, None));
    assert_eq!(numbers.lock().expect("no thread panics with it").len(), 3);
    let counts = retry.handle().snapshot().counts;
    assert_eq!((counts.exhausted, counts.forbidden), (1, 0));
}

/// Says when it is dropped.
struct Guard(UnboundedSender<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[tokio::test]
async fn dropping_a_call_ends_the_work_of_the_server() {
    let (gone, mut noticed) = unbounded_channel();
    let (working, mut began) = unbounded_channel();
    let asked = Arc::new(AtomicUsize::new(0));
    let handler = move || {
        let (guard, working) = (Guard(gone.clone()), working.clone());
        let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                std::mem::forget(guard);
                return BUSY.0;
            }
            working.send(()).expect("the test waits for it");
            pending::<()>().await;
            drop(guard);
            StatusCode::OK
        }
    };
    let address = serve(Router::new().route("/", routing::get(handler))).await;
    let retry = retry(SEQUENCE);
    let call = tokio::spawn(client(&retry).oneshot(request(Method::GET, &address, "")));
    timeout(PATIENCE, began.recv()).await.expect("the second attempt arrives");
    call.abort();
    timeout(PATIENCE, noticed.recv()).await.expect("its handler is dropped");
    let _ = call.await;
    let seen = retry.handle().snapshot();
    assert_eq!((seen.counts.abandoned, seen.counts.retries, seen.budget.spent), (1, 1, 1));
}

#[tokio::test]
async fn dropping_a_call_drops_the_body_that_it_was_sending() {
    let (listener, address) = listen().await;
    let (frames, request) = streaming(&address);
    feed(&frames, b"one, ");
    let retry = retry(SEQUENCE);
    let call = tokio::spawn(client(&retry).oneshot(request));
    let (mut stream, _) = listener.accept().await.expect("a client");
    let mut seen = Vec::new();
    while !seen.windows(5).any(|window| window == b"one, ") {
        assert!(stream.read_buf(&mut seen).await.expect("a client") > 0);
    }
    call.abort();
    timeout(PATIENCE, frames.closed()).await.expect("the body is dropped, and so is its copy");
    let rest = timeout(PATIENCE, stream.read_to_end(&mut seen)).await.expect("the connection is closed");
    assert!(rest.is_err() || !seen.ends_with(b"0\r\n\r\n"), "a body cut short does not look whole");
    assert_eq!(retry.handle().snapshot().counts.abandoned, 1);
}

#[tokio::test]
async fn case_41_the_deadline_of_the_whole_call_is_kept() {
    let limit = Duration::from_millis(600);
    let whole = || TimeoutConfig::new(limit).build().expect("valid").deadlines(RequestExtensions);
    let patient = RetryConfig::fixed(Duration::from_millis(150)).jitter(Jitter::None).max_attempts(99);
    for hangs in [false, true] {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let handler = move || {
            let nth = counter.fetch_add(1, Ordering::SeqCst);
            async move {
                if hangs && nth == 1 {
                    pending::<()>().await;
                }
                BUSY.0
            }
        };
        let address = serve(Router::new().route("/", routing::get(handler))).await;
        let retry = retry(patient).budget(RetryBudget::unlimited());
        let client = ServiceBuilder::new().layer(whole()).map_err(Error::Inner).service(client(&retry));
        let began = Instant::now();
        let answer = client.oneshot(request(Method::GET, &address, "")).await;
        let (elapsed, counts) = (began.elapsed(), retry.handle().snapshot().counts);
        if hangs {
            assert!(matches!(answer, Err(Error::Rejected(_))), "{answer:?}");
            assert!((limit..limit + Duration::from_secs(1)).contains(&elapsed), "{elapsed:?}");
            assert_eq!((asked.load(Ordering::SeqCst), counts.abandoned), (2, 1));
        } else {
            // At 0, 150, 300 and 450 ms. An attempt at 600 ms would be too late, so the call fails at once.
            assert_eq!(answer.expect("the last answer").status(), BUSY.0);
            assert!(elapsed < limit, "{elapsed:?}");
            assert_eq!(counts.out_of_time, 1);
        }
    }
}

#[tokio::test]
async fn reqwest_gets_again_and_posts_once() {
    let client = reqwest::Client::builder().retry(reqwest::retry::never()).build().expect("a client");
    for (method, key, expected, attempts) in [
        (Method::GET, false, StatusCode::OK, 2),
        (Method::POST, false, BUSY.0, 1),
        (Method::POST, true, StatusCode::OK, 2),
    ] {
        let (app, numbers) = answering([BUSY]);
        let address = serve(app).await;
        let retry: RetryLayer<Protocol<HttpClassifier, HttpResend>> =
            SEQUENCE.build().expect("valid").classify(HttpClassifier::new()).resend(HttpResend::new());
        let mut request = client.request(method, format!("http://{address}/")).body("an order");
        if key {
            request = request.header("idempotency-key", "7");
        }
        let request = request.build().expect("a request");
        let response = retry.layer(client.clone()).oneshot(request).await.expect("an answer");
        assert_eq!(response.status(), expected);
        assert_eq!(response.text().await.expect("its body"), "an order");
        let numbers = numbers.lock().expect("no thread panics with it");
        assert_eq!(numbers[..], [None, Some("1".to_owned())][..attempts]);
    }
}
