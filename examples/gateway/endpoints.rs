//! The servers of one upstream: each behind its own breaker, and each request to the next one that it has not tried.

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
    circuit_breaker::CircuitBreakerHandle,
    http::{HttpClassifier, ReplayBody, RequestExtensions},
    stack::ReliabilityStack,
};

use crate::{config::UpstreamConfig, origin::Origin};

/// What is sent to a server: it can be sent again.
pub(crate) type Outgoing = Request<ReplayBody<Body>>;
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
    /// Each server has a breaker and a timeout of its own.
    pub(crate) fn protected(
        name: &str,
        config: &UpstreamConfig,
        listener: &(impl Listener + Clone),
    ) -> Result<Self, ConfigError> {
        let client = client();
        let several = config.url.len() > 1;
        let endpoint = |origin: &Origin| {
            let name = if several { format!("{name}({})", origin.authority()) } else { name.to_string() };
            let stack = ReliabilityStack::builder()
                .named(name)
                .circuit_breaker(config.circuit_breaker)
                .attempt_timeout(config.attempt_timeout)
                .classify(HttpClassifier::new())
                .deadlines(RequestExtensions)
                .listen(listener.clone())
                .build()?;
            let breaker = stack.circuit_breaker();
            let client = BoxCloneSyncService::new(ServiceBuilder::new().layer(stack).service(client.clone()));
            Ok(Endpoint { origin: origin.clone(), client, breaker })
        };
        let all = config.url.iter().map(endpoint).collect::<Result<_, _>>()?;
        Ok(Self { all, turn: Arc::default() })
    }

    /// The holds on the breakers, in the order of the config.
    pub(crate) fn breakers(&self) -> impl Iterator<Item = &CircuitBreakerHandle> {
        self.all.iter().map(|endpoint| &endpoint.breaker)
    }

    /// Whose turn it is, among those where no attempt of this request has been; if it has been everywhere, among all.
    fn choose(&self, history: Option<&CallHistory>) -> &Endpoint {
        let visited =
            |endpoint: &Endpoint| history.is_some_and(|history| history.has_visited(&endpoint.origin));
        // Only a first attempt takes a turn. Where there are two servers and one is ill, each second attempt would
        // otherwise take the turn of the one that is well, and every request would begin at the other.
        let turn = if self.all.iter().any(visited) {
            self.turn.load(Ordering::Relaxed)
        } else {
            self.turn.fetch_add(1, Ordering::Relaxed)
        };
        let in_turn = || (0..self.all.len()).map(|step| &self.all[turn.wrapping_add(step) % self.all.len()]);
        in_turn().find(|endpoint| !visited(endpoint)).unwrap_or(&self.all[turn % self.all.len()])
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
    // Were either not possible, the client would refuse the request and say why.
    if let (Ok(uri), Ok(host)) = (uri, HeaderValue::from_str(authority.as_str())) {
        *request.uri_mut() = uri;
        request.headers_mut().insert(HOST, host);
    }
}

/// No limits of its own: how long things may take is for the stacks to say.
pub(crate) fn client() -> Client<HttpConnector, ReplayBody<Body>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .build(connector)
}

/// Below the 60 s after which many servers hang up, so that it is not us who find out.
const POOL_IDLE: std::time::Duration = std::time::Duration::from_secs(50);
