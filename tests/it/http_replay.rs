//! Bodies that are sent more than once, over real sockets. The tests make the attempts by hand, as a retry would.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Extension, Router, body::Body as AxumBody, http::StatusCode, response::IntoResponse, routing};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    sync::mpsc::{UnboundedSender, unbounded_channel},
};
use tower::ServiceExt;
use tower_reliability::{
    BoxError, CallHistory, Classifier, ErrorClass, Outcome, PriorAttempts, Resend, Retryable,
    http::{Attempt, HttpClassifier, HttpResend, ReplayBody, ReportAttemptsLayer},
};

use crate::peers::{listen, no_listener, serve};

const RESEND: HttpResend = HttpResend::new();

/// Answers with the body, the `sum` of the trailers, and some headers of the request.
fn echo() -> Router {
    Router::new().route(
        "/",
        routing::any(|method: Method, headers: HeaderMap, body: AxumBody| async move {
            let body = body.collect().await.expect("a whole body");
            let mut answer = HeaderMap::new();
            answer.insert("x-method", HeaderValue::from_str(method.as_str()).expect("a method"));
            for (name, told) in [("content-length", "x-length"), ("x-retry-attempt", "x-attempt")] {
                if let Some(value) = headers.get(name) {
                    answer.insert(told, value.clone());
                }
            }
            if let Some(sum) = body.trailers().and_then(|trailers| trailers.get("sum")) {
                answer.insert("x-sum", sum.clone());
            }
            (answer, body.to_bytes())
        }),
    )
}

/// A server that reads until it has seen `text`, then closes the connection without an answer.
async fn hang_up_after(text: &'static str) -> String {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut seen = Vec::new();
            while !seen.windows(text.len()).any(|window| window == text.as_bytes()) {
                assert!(stream.read_buf(&mut seen).await.expect("a client") > 0);
            }
        }
    });
    address
}

/// One attempt at an address.
async fn send<B>(mut request: Request<ReplayBody<B>>, address: &str) -> Result<Response<Incoming>, Error>
where
    B: Body + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    *request.uri_mut() = format!("http://{address}/").parse().expect("a uri");
    let client: Client<HttpConnector, ReplayBody<B>> = Client::builder(TokioExecutor::new()).build_http();
    client.oneshot(request).await
}

fn full(method: Method, text: &'static str) -> Request<ReplayBody<Full<Bytes>>> {
    let body = ReplayBody::new(Full::new(Bytes::from_static(text.as_bytes())));
    Request::builder().method(method).body(body).expect("a request")
}

type Frames = UnboundedSender<Result<Frame<Bytes>, Infallible>>;

/// A request with a body from a channel.
fn streaming() -> (Frames, Request<ReplayBody<impl Body<Data = Bytes, Error = Infallible> + Send + Unpin>>) {
    let (sender, mut receiver) = unbounded_channel();
    let body = StreamBody::new(futures::stream::poll_fn(move |cx| receiver.poll_recv(cx)));
    let request = Request::put("/").header("trailer", "sum").body(ReplayBody::new(body));
    (sender, request.expect("a request"))
}

fn feed(frames: &Frames, text: &'static str) {
    frames.send(Ok(Frame::data(Bytes::from_static(text.as_bytes())))).expect("the body is there");
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("sum"), HeaderValue::from(42))])
}

fn feed_trailers(frames: &Frames) {
    frames.send(Ok(Frame::trailers(trailers()))).expect("the body is there");
}

/// Waits until the connection's task has dropped the body. The caller may learn of the end of an attempt earlier.
async fn until_free<B: Body>(copy: &Request<ReplayBody<B>>) {
    let free = async {
        while !copy.body().can_replay() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), free).await.expect("the attempt is dropped");
}

fn told<'a>(response: &'a Response<Incoming>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().expect("text"))
}

async fn text(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[tokio::test]
async fn case_40_a_body_of_known_size_is_sent_again_with_its_length() {
    let echo = serve(echo()).await;
    let mut first = full(Method::PUT, "an order");
    let second = RESEND.copy(&mut first).expect("a copy");
    let error = send(first, &hang_up_after("an order").await).await.expect_err("no server answers");
    let outcome = HttpClassifier::new().classify(Err::<&Response<()>, _>(&error));
    assert_eq!(outcome, Outcome::failure(ErrorClass::Connection), "the backend may have processed it");
    assert!(RESEND.may_resend(&second, PriorAttempts::Ended));

    let response = send(second, &echo).await.expect("an answer");
    assert_eq!(told(&response, "x-length"), Some("8"));
    assert_eq!(text(response).await, "an order");

    let once = send(full(Method::PUT, "an order"), &echo).await.expect("an answer");
    assert_eq!(told(&once, "x-length"), Some("8"), "the same without a copy");
}

#[tokio::test]
async fn case_40_a_stream_continues_where_the_peer_hung_up_and_keeps_its_trailers() {
    let (frames, mut first) = streaming();
    let mut second = RESEND.copy(&mut first).expect("a copy");
    feed(&frames, "one, ");
    send(first, &hang_up_after("one, ").await).await.expect_err("no server answers");
    until_free(&second).await;

    let third = RESEND.copy(&mut second).expect("a copy");
    feed(&frames, "two, ");
    send(second, &hang_up_after("two, ").await).await.expect_err("no server answers");
    until_free(&third).await;

    feed(&frames, "three");
    feed_trailers(&frames);
    drop(frames);
    let response = send(third, &serve(echo()).await).await.expect("an answer");
    assert_eq!(told(&response, "x-sum"), Some("42"));
    assert_eq!(text(response).await, "one, two, three");
}

/// A body that knows its last frame.
struct Known(VecDeque<Frame<Bytes>>);

impl Body for Known {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

#[tokio::test]
async fn case_40_a_whole_stream_is_sent_again_with_its_trailers() {
    let (frames, first) = streaming();
    feed(&frames, "one, ");
    feed(&frames, "two");
    feed_trailers(&frames);
    drop(frames);
    whole_stream_is_sent_again(first).await;

    let data = |text: &'static str| Frame::data(Bytes::from_static(text.as_bytes()));
    let frames = [data("one, "), data("two"), Frame::trailers(trailers())];
    let known = ReplayBody::new(Known(frames.into_iter().collect()));
    let first = Request::put("/").header("trailer", "sum").body(known).expect("a request");
    whole_stream_is_sent_again(first).await;
}

async fn whole_stream_is_sent_again<B>(mut first: Request<ReplayBody<B>>)
where
    B: Body<Error = Infallible> + Send + Unpin + 'static,
    B::Data: Send,
{
    let busy = Router::new().route(
        "/",
        routing::put(|body: AxumBody| async {
            body.collect().await.expect("a whole body");
            StatusCode::SERVICE_UNAVAILABLE
        }),
    );
    let second = RESEND.copy(&mut first).expect("a copy");
    let response = send(first, &serve(busy).await).await.expect("an answer");
    assert_eq!(response.status(), 503);
    until_free(&second).await;
    let response = send(second, &serve(echo()).await).await.expect("an answer");
    assert_eq!(told(&response, "x-sum"), Some("42"));
    assert_eq!(text(response).await, "one, two");
}

#[tokio::test]
async fn a_stream_that_was_answered_early_is_taken_over_at_once() {
    let busy = Router::new().route("/", routing::put(|| async { StatusCode::SERVICE_UNAVAILABLE }));
    let (frames, mut first) = streaming();
    let mut second = RESEND.copy(&mut first).expect("a copy");
    feed(&frames, "one, ");
    let response = send(first, &serve(busy).await).await.expect("an answer");
    assert_eq!(response.status(), 503);
    assert!(RESEND.may_resend(&second, PriorAttempts::Ended) && RESEND.take_over(&mut second));
    feed(&frames, "two");
    drop(frames);
    let response = send(second, &serve(echo()).await).await.expect("an answer");
    assert_eq!(text(response).await, "one, two");
}

#[tokio::test]
async fn above_the_cap_a_stream_arrives_and_is_not_sent_again() {
    let (frames, first) = streaming();
    let mut first = first.map(|body| body.max_bytes(6));
    let second = RESEND.copy(&mut first).expect("its size is not known");
    feed(&frames, "one, ");
    feed(&frames, "two");
    drop(frames);
    let response = send(first, &serve(echo()).await).await.expect("an answer");
    assert_eq!(text(response).await, "one, two");
    assert!(!RESEND.may_resend(&second, PriorAttempts::Unprocessed));
}

#[tokio::test]
async fn an_unprocessed_post_is_sent_again_and_numbered() {
    let mut first = full(Method::POST, "an order");
    let mut second = RESEND.copy(&mut first).expect("a copy");
    let mut history = None;
    RESEND.prepare(&mut first, 1, &mut history);
    let error = send(first, &no_listener().await).await.expect_err("no server is there");
    let outcome = HttpClassifier::new().classify(Err::<&Response<()>, _>(&error));
    let Outcome::Failure { retryable, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(retryable, Retryable::Unprocessed);
    assert!(
        !RESEND.may_resend(&second, PriorAttempts::Ended)
            && RESEND.may_resend(&second, PriorAttempts::Unprocessed)
    );

    RESEND.prepare(&mut second, 2, &mut history);
    assert_eq!(second.extensions().get(), Some(&Attempt(2)));
    let response = send(second, &serve(echo()).await).await.expect("an answer");
    assert_eq!((told(&response, "x-method"), told(&response, "x-attempt")), (Some("POST"), Some("1")));
    assert_eq!(text(response).await, "an order");
}

#[tokio::test]
async fn a_request_that_hyper_had_not_begun_to_write_is_unprocessed() {
    let (listener, address) = listen().await;
    let stream = TcpStream::connect(&address).await.expect("a listener");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a connection");
    drop((listener, connection));
    let error = sender.send_request(full(Method::POST, "an order")).await.expect_err("it is closed");
    assert!(error.is_canceled());
    let outcome = HttpClassifier::new().classify(Err::<&Response<()>, _>(&error));
    assert_eq!(outcome, Outcome::failure(ErrorClass::Connection).unprocessed());
}

#[tokio::test]
async fn a_caller_stands_down_when_the_server_has_retried() {
    let tries = |retries: u64| {
        let handler = move |Extension(history): Extension<CallHistory>| async move {
            (0..retries).for_each(|_| history.retried());
            StatusCode::BAD_GATEWAY.into_response()
        };
        Router::new().route("/", routing::get(handler)).layer(ReportAttemptsLayer)
    };
    let server = Outcome::failure(ErrorClass::Server);
    for (retries, expected) in [(0, server), (2, server.not_retryable())] {
        let response = send(full(Method::GET, ""), &serve(tries(retries)).await).await;
        assert_eq!(HttpClassifier::new().classify(response.as_ref()), expected, "after {retries} retries");
    }
}
