//! Three servers on loopback that follow the plan.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderValue, Request, StatusCode},
    response::Response,
};
use hyper::{body::Incoming, service::service_fn};
use tokio::{net::TcpListener, task::JoinSet, time};
use tower_reliability::BoxError;

use super::{
    loopback,
    plan::{Kind, Phase, Side, Timeline},
};
use crate::server;

/// The header with the gateway that a request goes through.
pub(crate) const SIDE: &str = "x-side";

/// The servers. They stop on drop.
pub(crate) struct Upstreams {
    pub(crate) addresses: [SocketAddr; 3],
    pub(crate) reached: Arc<Reached>,
    _servers: JoinSet<usize>,
}

/// The number of requests that reached the fading upstream while it was dead, by side.
#[derive(Debug, Default)]
pub(crate) struct Reached([AtomicU32; 2]);

impl Upstreams {
    pub(crate) async fn start(timeline: Timeline) -> io::Result<Self> {
        let reached = Arc::<Reached>::default();
        let mut servers = JoinSet::new();
        let mut addresses = [loopback(); 3];
        for (kind, address) in Kind::ALL.into_iter().zip(&mut addresses) {
            let listener = TcpListener::bind(loopback()).await?;
            *address = listener.local_addr()?;
            let reached = Arc::clone(&reached);
            let connection = move |_| {
                let reached = Arc::clone(&reached);
                service_fn(move |request| answer(kind, timeline, Arc::clone(&reached), request))
            };
            servers.spawn(server::serve(listener, connection, std::future::pending(), Duration::ZERO));
        }
        Ok(Self { addresses, reached, _servers: servers })
    }
}

impl Reached {
    pub(crate) fn by(&self, side: Side) -> u32 {
        self.0[side as usize].load(Ordering::Relaxed)
    }

    fn count(&self, request: &Request<Incoming>) {
        let name = request.headers().get(SIDE).map(HeaderValue::as_bytes);
        for side in Side::ALL {
            if name == Some(side.name().as_bytes()) {
                self.0[side as usize].fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Answers a request. An error makes hyper close the connection.
async fn answer(
    kind: Kind,
    timeline: Timeline,
    reached: Arc<Reached>,
    request: Request<Incoming>,
) -> Result<Response, BoxError> {
    let fine = || Ok(Response::new(Body::from("fine\n")));
    match kind {
        Kind::Healthy => fine(),
        Kind::Flaky => match number(&request) {
            n if n % 30 == 11 => {
                time::sleep(FLAKY_PAUSE).await;
                fine()
            }
            n if n % 16 == 3 => {
                let mut busy = Response::default();
                *busy.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                Ok(busy)
            }
            n if n % 50 == 21 => Err("hanging up, as planned".into()),
            _ => fine(),
        },
        Kind::Fading => match timeline.phase() {
            Phase::Healthy => fine(),
            Phase::Slowing(pause) => {
                time::sleep(pause).await;
                fine()
            }
            Phase::Silent => {
                reached.count(&request);
                std::future::pending().await
            }
            Phase::HangingUp => {
                reached.count(&request);
                Err("hanging up, as planned".into())
            }
        },
    }
}

/// The number of a request, from its path. The same numbers fail on both sides. A retry counts as another number.
fn number(request: &Request<Incoming>) -> u32 {
    let last = request.uri().path().rsplit('/').next().and_then(|n| n.parse().ok());
    let retry = request.headers().get("x-retry-attempt").and_then(|n| n.to_str().ok()?.parse().ok());
    last.unwrap_or(0) + RETRY_STEP * retry.unwrap_or(0)
}

const RETRY_STEP: u32 = 7;
const FLAKY_PAUSE: Duration = Duration::from_millis(600);
