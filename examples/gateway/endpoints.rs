//! The servers of one upstream: each behind its own breaker, and each attempt at the best of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    body::Body,
    http::{
        HeaderValue, Request, Response, Uri,
        header::HOST,
        uri::{PathAndQuery, Scheme},
    },
};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tower::{
    Service, ServiceBuilder, ServiceExt,
    util::{BoxCloneSyncService, Oneshot},
};
use tower_reliability::{
    CallHistory, ConfigError, Error, Listener,
    circuit_breaker::{CircuitBreakerHandle, CircuitState},
    http::{self, ReadTimeoutBody, ReconnectLayer, ReplayBody, TrackedConnector},
};

use crate::{config::UpstreamConfig, origin::Origin};

/// A request to a server. It can be sent again, and its client must not stall.
pub(crate) type Outgoing = Request<ReplayBody<ReadTimeoutBody<Body>>>;
type ToServer = BoxCloneSyncService<Outgoing, Response<Incoming>, Error<legacy::Error>>;

/// The servers of one upstream. Clones take turns together.
#[derive(Clone)]
pub(crate) struct Endpoints {
    all: Arc<[Endpoint]>,
    turn: Arc<AtomicUsize>,
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
        config: &UpstreamConfig,
        listener: &(impl Listener + Clone),
    ) -> Result<Self, ConfigError> {
        // The innermost layer: a closed keep-alive connection is no failure of the server.
        let client = ServiceBuilder::new().layer(ReconnectLayer::new()).service(client());
        let several = config.url.len() > 1;
        let endpoint = |origin: &Origin| {
            let name = if several { format!("{name}({})", origin.authority()) } else { name.to_string() };
            let stack = http::stack()
                .named(name)
                .circuit_breaker(config.circuit_breaker)
                .attempt_timeout(config.attempt_timeout)
                .listen(listener.clone())
                .build()?;
            let breaker = stack.circuit_breaker();
            let client = BoxCloneSyncService::new(ServiceBuilder::new().layer(stack).service(client.clone()));
            Ok(Endpoint { origin: origin.clone(), client, breaker })
        };
        let all = config.url.iter().map(endpoint).collect::<Result<_, _>>()?;
        Ok(Self { all, turn: Arc::default() })
    }

    /// The handles of the breakers, in the order of the config.
    pub(crate) fn breakers(&self) -> impl Iterator<Item = &CircuitBreakerHandle> {
        self.all.iter().map(|endpoint| &endpoint.breaker)
    }

    /// The next server in turn, preferably one with a circuit that is not open and without an attempt of this request.
    fn choose(&self, history: Option<&CallHistory>) -> &Endpoint {
        let visited =
            |endpoint: &Endpoint| history.is_some_and(|history| history.has_visited(&endpoint.origin));
        // Only a first attempt takes a turn. With two servers, one of them broken, each second attempt would take the
        // turn of the healthy server, and every request would begin at the broken one.
        let turn = if self.all.iter().any(visited) {
            self.turn.load(Ordering::Relaxed)
        } else {
            self.turn.fetch_add(1, Ordering::Relaxed)
        };
        // An open circuit rejects. The circuit of a server that is back is half-open by then, and gets its probe.
        let is_open = |endpoint: &Endpoint| endpoint.breaker.state() == CircuitState::Open;
        let in_turn = (0..self.all.len()).map(|step| &self.all[turn.wrapping_add(step) % self.all.len()]);
        let best = in_turn.min_by_key(|endpoint| (is_open(endpoint), visited(endpoint)));
        best.expect("the config refuses an upstream without a server")
    }
}

impl Service<Outgoing> for Endpoints {
    type Response = Response<Incoming>;
    type Error = Error<legacy::Error>;
    type Future = Oneshot<ToServer, Outgoing>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Outgoing) -> Self::Future {
        let history = request.extensions().get::<CallHistory>();
        let endpoint = self.choose(history);
        if let Some(history) = history {
            history.visit_one_of(&endpoint.origin, self.all.len());
        }
        direct(&mut request, &endpoint.origin);
        endpoint.client.clone().oneshot(request)
    }
}

/// Addresses a request to a server.
pub(crate) fn direct<B>(request: &mut Request<B>, origin: &Origin) {
    let authority = origin.authority();
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme(Scheme::HTTP).authority(authority.clone()).path_and_query(path).build();
    // If this fails, the client refuses the request and says why.
    if let (Ok(uri), Ok(host)) = (uri, HeaderValue::from_str(authority.as_str())) {
        *request.uri_mut() = uri;
        request.headers_mut().insert(HOST, host);
    }
}

/// A client without timeouts of its own: the stacks have them.
pub(crate) fn client<B>() -> Client<TrackedConnector<HttpConnector>, B>
where
    B: axum::body::HttpBody<Data: Send> + Send,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .build(TrackedConnector::new(connector))
}

/// Many servers close an idle connection after 60 s. A pool that closes it first avoids the race.
const POOL_IDLE: std::time::Duration = std::time::Duration::from_secs(50);
