//! The servers of one upstream: each behind its own breaker, and each attempt at the best of them.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::HttpBody as Body,
    http::{
        Request, Response, Uri,
        header::HOST,
        uri::{PathAndQuery, Scheme},
    },
};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::net::TcpStream;
use tower::{Service, ServiceBuilder, ServiceExt, util::MapResponse};
use tower_reliability::{
    BoxError, CallHistory, ConfigError, Error, Listener,
    circuit_breaker::CircuitBreakerHandle,
    http::{ReadTimeoutBody, ReconnectLayer, ReplayBody, TrackedConnector},
    stack::StackConfig,
};

use crate::{
    boxed::{Call, SharedService},
    origin::{Origin, Origins},
    upstream_socket::UpstreamSocket,
};

/// A request to a server. It can be sent again, and its client must not stall.
pub(crate) type Outgoing = Request<ReplayBody<ReadTimeoutBody<Incoming>>>;
type ToServer = SharedService<Outgoing, Response<Incoming>, Error<legacy::Error>>;

/// The servers of one upstream. Clones take turns together.
#[derive(Clone)]
pub(crate) struct Endpoints(Arc<Shared>);

struct Shared {
    all: Vec<Endpoint>,
    turn: AtomicUsize,
}

#[derive(Clone)]
struct Endpoint {
    origin: Origin,
    client: ToServer,
    breaker: CircuitBreakerHandle,
}

impl Endpoints {
    /// Puts a breaker and a timeout around each server.
    pub(crate) fn protected(
        name: &str,
        servers: &Origins,
        numbers: &StackConfig,
        listener: &(impl Listener + Clone),
    ) -> Result<Self, ConfigError> {
        // The innermost layer: a closed keep-alive connection is no failure of the server.
        let client = ServiceBuilder::new().layer(ReconnectLayer::new()).service(SharedClient::new());
        let several = servers.len() > 1;
        let endpoint = |origin: &Origin| {
            let name = if several { format!("{name}({})", origin.authority()) } else { name.to_string() };
            let stack = tower_reliability::http::stack()
                .named(name)
                .circuit_breaker(numbers.circuit_breaker.unwrap_or_default())
                .attempt_timeout(numbers.attempt_timeout)
                .listen(listener.clone())
                .build()?;
            let breaker = stack.circuit_breaker();
            let client = SharedService::new(ServiceBuilder::new().layer(stack).service(client.clone()));
            Ok(Endpoint { origin: origin.clone(), client, breaker })
        };
        let all = servers.iter().map(endpoint).collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(Shared { all, turn: AtomicUsize::new(0) })))
    }

    /// The handles of the breakers, in the order of the config.
    pub(crate) fn breakers(&self) -> impl Iterator<Item = &CircuitBreakerHandle> {
        self.0.all.iter().map(|endpoint| &endpoint.breaker)
    }

    /// The next server in turn, preferably one with a circuit that is not open and without an attempt of this request.
    fn choose(&self, history: Option<&CallHistory>) -> &Endpoint {
        let Shared { all, turn } = &*self.0;
        if let [only] = &**all {
            return only;
        }
        let visited = |n: usize| history.is_some_and(|history| history.has_visited(n));
        let servers = all.len();
        // Only a first attempt takes a turn. With two servers, one of them broken, each second attempt would take the
        // turn of the healthy server, and every request would begin at the broken one.
        let turn = if (0..servers).any(visited) {
            turn.load(Ordering::Relaxed)
        } else {
            turn.fetch_add(1, Ordering::Relaxed)
        };
        // The servers with an attempt already, or with a circuit that is not open.
        let mut worthwhile = 0;
        let best = (0..servers).map(|step| turn.wrapping_add(step) % servers).min_by_key(|&n| {
            // An open circuit rejects. When it is time to try its server again, the circuit is half-open.
            let is_open = all[n].breaker.state().is_open();
            let is_visited = visited(n);
            worthwhile += usize::from(is_visited || !is_open);
            (is_open, is_visited)
        });
        let best = best.expect("the config refuses an upstream without a server");
        if let Some(history) = history {
            // A server's Retry-After does not delay an attempt at another server, if there is one.
            history.visit_one_of(best, worthwhile);
        }
        &all[best]
    }
}

impl Service<Outgoing> for Endpoints {
    type Response = Response<Incoming>;
    type Error = Error<legacy::Error>;
    type Future = Call<Response<Incoming>, Error<legacy::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Outgoing) -> Self::Future {
        let endpoint = self.choose(request.extensions().get());
        direct(&mut request, &endpoint.origin);
        endpoint.client.call(request)
    }
}

/// Addresses a request to a server, which gets its own `Host` if the request has none.
pub(crate) fn direct<B>(request: &mut Request<B>, origin: &Origin) {
    let mut parts = mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(origin.authority().clone());
    parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from_parts(parts).expect("it has all parts");
    request.headers_mut().entry(HOST).or_insert_with(|| origin.host().clone());
}

/// An HTTP client. Its clones are cheaper than those of the client inside.
#[derive(Debug)]
pub(crate) struct SharedClient<B>(Arc<Client<TrackedConnector<Connector>, B>>);

type Connector = MapResponse<HttpConnector, fn(TokioIo<TcpStream>) -> UpstreamSocket>;

impl<B> SharedClient<B>
where
    B: Body<Data: Send> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// A client without timeouts of its own: the stacks have them.
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let connector: Connector = connector.map_response(UpstreamSocket::new);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            // At most so much of an answer waits here for a slow client.
            .http1_max_buf_size(BUFFER)
            .build(TrackedConnector::new(connector));
        Self(Arc::new(client))
    }
}

impl<B> Clone for SharedClient<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B> Service<Request<B>> for SharedClient<B>
where
    B: Body<Data: Send> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Incoming>;
    type Error = legacy::Error;
    type Future = legacy::ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.0.request(request)
    }
}

const BUFFER: usize = 32 * 1_024;
/// Many servers close an idle connection after 60 s. A pool that closes it first avoids the race.
const POOL_IDLE: Duration = Duration::from_secs(50);
