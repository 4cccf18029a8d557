//! A server behind the gateway.

use std::{
    future::pending,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    response::Response,
    routing::any,
};
use futures::{StreamExt, stream};
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore},
    task::JoinSet,
    time,
};

use crate::Result;

/// A server behind the gateway.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    /// The number of requests to `/payments/broken`.
    pub(crate) broken: Arc<AtomicU32>,
    /// Has a permit for each request to `/payments/report` that was dropped before its answer.
    pub(crate) given_up: Arc<Semaphore>,
    /// Notified of each request to `/payments/slow`.
    pub(crate) asked: Arc<Notify>,
    _server: JoinSet<io::Result<()>>,
}

impl Upstream {
    /// A server that answers at once.
    pub(crate) async fn start() -> Result<Self> {
        Self::taking(Duration::ZERO).await
    }

    /// A server that takes this long for `/payments/report`.
    pub(crate) async fn taking(latency: Duration) -> Result<Self> {
        let asked = Arc::new(Notify::new());
        let told = Arc::clone(&asked);
        let slow = async move || {
            told.notify_one();
            time::sleep(Duration::from_millis(200)).await;
            "slow"
        };
        let broken = Arc::<AtomicU32>::default();
        let counter = Arc::clone(&broken);
        let fail = async move || {
            counter.fetch_add(1, Ordering::SeqCst);
            StatusCode::INTERNAL_SERVER_ERROR
        };
        let given_up = Arc::new(Semaphore::new(0));
        let waiting = Arc::clone(&given_up);
        let report = async move || {
            let given_up = GivenUp(waiting);
            time::sleep(latency).await;
            std::mem::forget(given_up);
            "a report"
        };
        let app = Router::new()
            .route("/payments/broken", any(fail))
            .route("/payments/echo", any(echo))
            .route("/payments/report", any(report))
            .route("/payments/upload", any(async |body: Bytes| body))
            .route("/payments/slow", any(slow))
            .route("/payments/silent", any(async || pending::<()>().await))
            .route("/payments/endless", any(endless));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut server = JoinSet::new();
        server.spawn(async { axum::serve(listener, app).await });
        Ok(Self { address, broken, given_up, asked, _server: server })
    }

    pub(crate) fn config(&self) -> String {
        format!(
            "listen = '127.0.0.1:0'\n\
             drain = '5s'\n\
             routes = [{{ prefix = '/payments', upstream = 'payments' }}, {{ prefix = '/dead', upstream = 'dead' }}]\n\
             [upstreams.payments]\n\
             url = 'http://{}'\n\
             stack.attempt_timeout = '1s'\n\
             [upstreams.dead]\n\
             url = 'http://127.0.0.1:9'\n",
            self.address
        )
    }
}

/// Adds a permit when it is dropped.
struct GivenUp(Arc<Semaphore>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

/// Answers with the headers of the request, each with a prefix, and with its body.
async fn echo(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut response = Response::new(body);
    for (name, value) in &parts.headers {
        if let Ok(name) = format!("seen-{name}").parse::<HeaderName>() {
            response.headers_mut().insert(name, value.clone());
        }
    }
    let private = HeaderValue::from_static("timeout=5");
    response.headers_mut().insert("keep-alive", private);
    response
}

/// Writes the beginning of an endless body.
async fn endless() -> Body {
    let first = stream::iter([Ok::<_, io::Error>("first")]);
    Body::from_stream(first.chain(stream::pending()))
}
