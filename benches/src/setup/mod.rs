//! The same five jobs, set up with three crates. The guide's table of set-up lines counts them.
//!
//! Each job stands between the comments `// job a` and `// end`. A job may have several such parts, whose lines are
//! added up. Imports, comments, empty lines and lines of brackets alone do not count. `other_languages.md` has the jobs in
//! C#, Go and Java. `tests/guide.rs` of the crate compares the counts with the table in `GUIDE.md`.
//!
//! | job | content |
//! |---|---|
//! | a | an HTTP client: at most 10 s, 3 attempts with exponential backoff, a breaker, 2 s per attempt |
//! | b | the same with the numbers of the crate |
//! | c | a breaker per host and port |
//! | d | an axum server: 100 requests at once, others wait for up to 500 ms, then 503 |
//! | e | a breaker around a service with an error enum of its own |
//!
//! In a, b and c a 5xx is a failure. Only idempotent requests are sent again.

pub mod seatbelt;
pub mod tower_reliability;
pub mod tower_resilience;

use std::{
    error::Error,
    fmt,
    future::{Ready, ready},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::Service;

/// The client of the jobs a, b and c.
pub type Hyper = Client<HttpConnector, Full<Bytes>>;

/// The request of the jobs a, b and c. It can be cloned, and so sent again without a recording of its body.
pub type Request = http::Request<Full<Bytes>>;

/// The response of the jobs a, b and c.
pub type Response = http::Response<Incoming>;

/// The service of job e.
#[derive(Clone, Copy, Debug)]
pub struct Prices;

/// The error of [`Prices`]. `NotFound` is an answer, and no failure of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceError {
    /// The article is not for sale.
    NotFound,
    /// The service failed.
    Down,
    /// The circuit is open.
    CircuitOpen,
}

impl fmt::Display for PriceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "not for sale",
            Self::Down => "the prices are down",
            Self::CircuitOpen => "the prices get no requests",
        })
    }
}

impl Error for PriceError {}

impl Service<u32> for Prices {
    type Response = u32;
    type Error = PriceError;
    type Future = Ready<Result<u32, PriceError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), PriceError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, article: u32) -> Self::Future {
        ready(if article == 0 { Err(PriceError::Down) } else { Ok(article) })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, poll_fn},
        io::{Read, Write},
        net::{SocketAddr, TcpListener},
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        thread,
    };

    use axum::{Router, body::Body, routing::get};
    use http::{Method, StatusCode};
    use hyper_util::rt::TokioExecutor;
    use tokio::{
        runtime::{Builder, Runtime},
        task::JoinSet,
    };
    use tower::ServiceExt;

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().expect("a runtime starts")
    }

    /// A server that answers every request with 500, and counts them.
    fn failing() -> (SocketAddr, Arc<AtomicU32>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (address, asked) = (listener.local_addr().expect("bound"), Arc::new(AtomicU32::new(0)));
        let counter = Arc::clone(&asked);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                // The requests have no body and fit into a single segment.
                let _ = stream.read(&mut [0; 1024]);
                counter.fetch_add(1, Ordering::Relaxed);
                let head = "HTTP/1.1 500 Internal Server Error\r\n";
                let _ = write!(stream, "{head}content-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        (address, asked)
    }

    fn request(method: Method, address: SocketAddr) -> Request {
        let request = http::Request::builder().method(method).uri(format!("http://{address}/"));
        request.body(Full::default()).expect("a request")
    }

    #[test]
    fn each_client_makes_three_attempts_of_a_get_and_one_of_a_post() {
        runtime().block_on(async {
            for (method, attempts) in [(Method::GET, 3), (Method::POST, 1)] {
                let hyper = || Client::builder(TokioExecutor::new()).build_http();
                let (address, asked) = failing();
                let count = || asked.swap(0, Ordering::Relaxed);

                let ours = tower_reliability::client(Client::builder(TokioExecutor::new()).build_http());
                let response = ours.expect("numbers").send(request(method.clone(), address)).await;
                assert_eq!((response.expect("an answer").status(), count()), (ERROR, attempts), "{method}");

                let client = tower_resilience::client(hyper()).expect("numbers");
                let response = client.oneshot(request(method.clone(), address)).await;
                assert_eq!((response.expect("an answer").status(), count()), (ERROR, attempts), "{method}");

                let response = seatbelt::client(hyper()).oneshot(request(method.clone(), address)).await;
                assert_eq!((response.expect("an answer").status(), count()), (ERROR, attempts), "{method}");
            }
        });
    }

    #[test]
    fn each_server_answers_503_to_a_request_that_waits_in_vain() {
        runtime().block_on(async {
            let app = || Router::new().route("/", get(pending::<StatusCode>));
            for app in [
                tower_reliability::server(app()).expect("numbers"),
                tower_resilience::server(app()).expect("numbers"),
            ] {
                let mut asked = JoinSet::new();
                for _ in 0..=100 {
                    asked.spawn(app.clone().oneshot(http::Request::new(Body::empty())));
                }
                // The handler never answers, so the first answer is that of the request that waits.
                let Some(Ok(Ok(response))) = asked.join_next().await else { panic!("no answer") };
                assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            }
        });
    }

    const ERROR: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

    /// Ends with the first error that is not the service's own.
    async fn break_it(
        mut prices: impl Service<u32, Response = u32, Error = PriceError>,
    ) -> Option<PriceError> {
        for _ in 0..200 {
            poll_fn(|cx| prices.poll_ready(cx)).await.ok()?;
            match prices.call(0).await {
                Err(PriceError::Down) => {}
                other => return other.err(),
            }
        }
        None
    }

    #[test]
    fn each_breaker_opens_and_keeps_the_error_of_the_service() {
        runtime().block_on(async {
            let open = Some(PriceError::CircuitOpen);
            assert_eq!(break_it(tower_reliability::own_error(Prices).expect("numbers")).await, open);
            assert_eq!(break_it(tower_resilience::own_error(Prices).expect("numbers")).await, open);
            assert_eq!(break_it(seatbelt::own_error(Prices)).await, open);
        });
    }
}
