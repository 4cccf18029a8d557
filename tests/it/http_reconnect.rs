//! Servers that close a keep-alive connection at the moment of its reuse, over real sockets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_reliability::{
    Error,
    circuit_breaker::{CircuitBreakerConfig, CircuitBreakerCounts, CircuitBreakerHandle},
    http::{self as reliable, Idempotent, ReconnectLayer, ReplayLayer, TrackedConnector},
};

use crate::peers::listen;

/// How a server closes a connection that it has used up.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Close {
    /// When it has read the next request.
    AfterReading,
    /// With the next request unread, which resets the connection.
    Unread,
}

/// A server that answers so many requests per connection, and then closes it without a notice.
struct Server {
    address: String,
    connections: Arc<AtomicU32>,
}

impl Server {
    async fn start(answers: usize, close: Close) -> Self {
        let (listener, address) = listen().await;
        let connections = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, answers, close));
            }
        });
        Self { address, connections }
    }

    /// Sends these requests one after the other through a breaker. Returns the good answers and the breaker's counts.
    async fn ask(
        &self,
        count: u64,
        request: impl Fn() -> Request<Full<Bytes>>,
    ) -> (u64, CircuitBreakerCounts) {
        let (client, breaker) = client();
        let mut good = 0;
        for _ in 0..count {
            let mut request = request();
            *request.uri_mut() = format!("http://{}/", self.address).parse().expect("a uri");
            if let Ok(response) = client.clone().oneshot(request).await {
                response.into_body().collect().await.expect("a body");
                good += 1;
            }
        }
        (good, breaker.snapshot().counts)
    }
}

type Call = Request<Full<Bytes>>;

/// A client behind a breaker that stays closed and counts.
fn client() -> (
    impl Service<Call, Response = Response<Incoming>, Error = Error<legacy::Error>> + Clone,
    CircuitBreakerHandle,
) {
    let breaker = CircuitBreakerConfig::consecutive(1_000);
    let stack = reliable::stack().circuit_breaker(breaker).build().expect("in range");
    let connector = TrackedConnector::new(HttpConnector::new());
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(&stack)
        .layer(ReconnectLayer::new())
        .service(Client::builder(TokioExecutor::new()).build(connector));
    (client, stack.circuit_breaker())
}

async fn serve(mut stream: TcpStream, answers: usize, close: Close) {
    for _ in 0..answers {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    }
    match close {
        Close::AfterReading => read_request(&mut stream).await,
        Close::Unread => drop(stream.readable().await),
    }
}

/// Reads a request whose body, if it has one, is `an order`.
async fn read_request(stream: &mut TcpStream) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") && !seen.ends_with(b"an order") {
        // hyper sends head and body in one write, so that a head with a body is not taken for a whole request.
        if stream.read_buf(&mut seen).await.is_ok_and(|read| read == 0) {
            return;
        }
    }
}

fn request(method: Method, body: &'static str) -> Request<Full<Bytes>> {
    Request::builder().method(method).body(Full::new(Bytes::from(body))).expect("a request")
}

#[tokio::test]
async fn a_request_that_meets_a_closed_connection_goes_again_without_a_vote() {
    for close in [Close::AfterReading, Close::Unread] {
        for (method, body) in [(Method::GET, ""), (Method::PUT, "an order")] {
            let server = Server::start(1, close).await;
            let (good, counts) = server.ask(50, || request(method.clone(), body)).await;
            assert_eq!((good, counts.successes, counts.failures), (50, 50, 0), "{close:?} {method}");
            assert_eq!(server.connections.load(Ordering::Relaxed), 50, "{close:?} {method}");
        }
    }
}

#[tokio::test]
async fn a_request_that_may_not_be_processed_twice_is_sent_once() {
    let server = Server::start(1, Close::AfterReading).await;
    let (good, counts) = server.ask(10, || request(Method::POST, "an order")).await;
    assert_eq!((good, counts.failures), (5, 5), "each second one meets a closed connection");
    let keyed = || {
        let mut request = request(Method::POST, "an order");
        request.extensions_mut().insert(Idempotent(true));
        request
    };
    assert_eq!(server.ask(10, keyed).await.0, 10);
}

#[tokio::test]
async fn a_new_connection_that_is_closed_is_a_failure_of_the_server() {
    let server = Server::start(0, Close::AfterReading).await;
    let (good, counts) = server.ask(5, || request(Method::GET, "")).await;
    assert_eq!((good, counts.failures, server.connections.load(Ordering::Relaxed)), (0, 5, 5));
}

#[tokio::test]
async fn several_closed_connections_in_a_row_are_survived() {
    // The server answers two requests per connection, so that parallel ones leave connections behind.
    let server = Arc::new(Server::start(2, Close::AfterReading).await);
    let (client, breaker) = client();
    for round in 0..10 {
        let calls = (0..3).map(|_| {
            let mut request = request(Method::GET, "");
            *request.uri_mut() = format!("http://{}/", server.address).parse().expect("a uri");
            let call = client.clone().oneshot(request);
            async move { call.await.expect("an answer").into_body().collect().await.expect("a body") }
        });
        futures::future::join_all(calls).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(breaker.snapshot().counts.failures, 0, "round {round}");
    }
}
