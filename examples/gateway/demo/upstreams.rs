//! The servers on loopback. They follow the plan, and count the requests that reach them.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Request, StatusCode},
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
    pub(crate) addresses: Addresses,
    pub(crate) arrivals: Arc<Arrivals>,
    _servers: JoinSet<usize>,
}

/// The addresses of the servers, and of the one that answers instead of the fading upstream.
pub(crate) struct Addresses {
    pub(crate) servers: [Vec<SocketAddr>; 3],
    pub(crate) fallback: SocketAddr,
}

/// The requests that reached the servers, by side.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    dead: [AtomicU32; 2],
    retries: [AtomicU32; 2],
    /// The first server that a request to the flaky upstream reached.
    first: Mutex<BTreeMap<(Side, u32), usize>>,
}

/// The server that answered, as it says itself in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The first server that the request reached.
    First,
    /// Another server of the same upstream.
    Another,
    Fallback,
}

impl Upstreams {
    pub(crate) async fn start(timeline: Timeline) -> io::Result<Self> {
        let arrivals = Arc::<Arrivals>::default();
        let mut servers = JoinSet::new();
        let mut start = async |role: Option<(Kind, usize)>| {
            let listener = TcpListener::bind(loopback()).await?;
            let address = listener.local_addr()?;
            let server = Server { role, timeline, arrivals: Arc::clone(&arrivals) };
            let connection = move |_| {
                let server = server.clone();
                service_fn(move |request| server.clone().answer(request))
            };
            servers.spawn(server::serve(listener.into(), connection, std::future::pending(), Duration::ZERO));
            io::Result::Ok(address)
        };
        let mut addresses = Addresses { servers: Default::default(), fallback: start(None).await? };
        for (kind, addresses) in Kind::ALL.into_iter().zip(&mut addresses.servers) {
            for place in 0..kind.servers() {
                addresses.push(start(Some((kind, place))).await?);
            }
        }
        Ok(Self { addresses, arrivals, _servers: servers })
    }
}

impl Arrivals {
    /// The requests that reached the fading upstream while it was dead.
    pub(crate) fn dead(&self, side: Side) -> u32 {
        self.dead[side as usize].load(Ordering::Relaxed)
    }

    /// The requests that reached a server, but not as the first attempt.
    pub(crate) fn retries(&self, side: Side) -> u32 {
        self.retries[side as usize].load(Ordering::Relaxed)
    }

    /// Whether this is the first server that the request reaches.
    fn is_first(&self, side: Side, number: u32, server: usize) -> bool {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        *first.entry((side, number)).or_insert(server) == server
    }
}

impl Source {
    const ALL: [Self; 3] = [Self::First, Self::Another, Self::Fallback];
    const HEADER: &'static str = "x-answered-by";

    const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Another => "another",
            Self::Fallback => "fallback",
        }
    }

    /// The source of an answer. `None` if no server gave it.
    pub(crate) fn of(answer: &HeaderMap) -> Option<Self> {
        let name = answer.get(Self::HEADER)?;
        Self::ALL.into_iter().find(|source| name == source.name())
    }
}

/// One server: of an upstream, at its place in the config, or the fallback.
#[derive(Clone)]
struct Server {
    role: Option<(Kind, usize)>,
    timeline: Timeline,
    arrivals: Arc<Arrivals>,
}

impl Server {
    /// Answers a request. An error makes hyper close the connection.
    async fn answer(self, request: Request<Incoming>) -> Result<Response, BoxError> {
        let Some((kind, place)) = self.role else { return Ok(fine(Source::Fallback)) };
        let (side, number, attempt) =
            identify(&request).ok_or("a request that no client of the demo sent")?;
        if attempt > 0 {
            self.arrivals.retries[side as usize].fetch_add(1, Ordering::Relaxed);
        }
        match kind {
            Kind::Healthy => Ok(fine(Source::First)),
            Kind::Flaky => {
                let is_first = self.arrivals.is_first(side, number, place);
                let source = if is_first { Source::First } else { Source::Another };
                flaky(number + RETRY_STEP * attempt, source).await
            }
            Kind::Fading => {
                let phase = self.timeline.phase();
                if matches!(phase, Phase::Silent | Phase::HangingUp) {
                    self.arrivals.dead[side as usize].fetch_add(1, Ordering::Relaxed);
                }
                match phase {
                    Phase::Healthy => {}
                    Phase::Slowing(pause) => time::sleep(pause).await,
                    Phase::Silent => std::future::pending().await,
                    Phase::HangingUp => return Err("hanging up, as planned".into()),
                }
                Ok(fine(Source::First))
            }
        }
    }
}

/// An answer of the flaky upstream. The periods are odd, so that each of two servers in turn gets its share.
async fn flaky(number: u32, source: Source) -> Result<Response, BoxError> {
    match number {
        n if n % 29 == 11 => time::sleep(FLAKY_PAUSE).await,
        n if n % 15 == 3 => {
            let mut busy = Response::default();
            *busy.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return Ok(busy);
        }
        n if n % 49 == 21 => return Err("hanging up, as planned".into()),
        _ => {}
    }
    Ok(fine(source))
}

fn fine(source: Source) -> Response {
    let mut response = Response::new(Body::from("fine\n"));
    response.headers_mut().insert(Source::HEADER, HeaderValue::from_static(source.name()));
    response
}

/// The gateway, the number and the attempt of a request. The numbers are the same through both gateways.
fn identify<B>(request: &Request<B>) -> Option<(Side, u32, u32)> {
    let side = request.headers().get(SIDE)?;
    let side = Side::ALL.into_iter().find(|known| side == known.name())?;
    let number = request.uri().path().rsplit('/').next()?.parse().ok()?;
    let attempt = match request.headers().get("x-retry-attempt") {
        None => 0,
        Some(attempt) => attempt.to_str().ok()?.parse().ok()?,
    };
    Some((side, number, attempt))
}

/// A retry fails by the plan for another number, and not because the first attempt failed.
const RETRY_STEP: u32 = 7;
const FLAKY_PAUSE: Duration = Duration::from_millis(600);
