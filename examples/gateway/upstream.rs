//! An upstream: an HTTP client with a stack around it.

use std::{error::Error, iter, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, Uri, Version, uri::Scheme},
    response::Response,
};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tower::{ServiceBuilder, ServiceExt, util::BoxCloneSyncService};
use tower_reliability::{
    ConfigError, Deadline, Listener,
    circuit_breaker::CircuitBreakerHandle,
    http::{BodyDeadlineLayer, DeadlineBody, HttpClassifier, RejectionLayer, RequestExtensions},
    stack::ReliabilityStack,
};

use crate::{
    config::{Origin, UpstreamConfig},
    headers, problem,
    server::Peer,
};

/// A server that requests are passed on to.
#[derive(Clone)]
pub(crate) struct Upstream {
    origin: Origin,
    /// How long a request may take, its answer's body included.
    limit: Duration,
    service: BoxCloneSyncService<Request, Response, legacy::Error>,
    /// `None` where the upstream is not protected.
    breaker: Option<CircuitBreakerHandle>,
}

impl Upstream {
    /// The name is what rejections and events call the upstream.
    pub(crate) fn new(
        name: &str,
        config: &UpstreamConfig,
        listener: impl Listener,
    ) -> Result<Self, ConfigError> {
        let stack = ReliabilityStack::builder()
            .named(name.to_string())
            .timeout(config.timeout)
            .circuit_breaker(config.circuit_breaker)
            .attempt_timeout(config.attempt_timeout)
            .classify(HttpClassifier::new())
            .limits(RequestExtensions)
            .listen(listener)
            .build()?;
        // The numbers are checked although nobody uses them.
        if !config.protected {
            return Ok(Self {
                origin: config.url.clone(),
                limit: config.timeout.limit(),
                service: BoxCloneSyncService::new(
                    client().map_response(|response: Response<_>| response.map(Body::new)),
                ),
                breaker: None,
            });
        }
        let breaker = stack.circuit_breaker();
        let service = ServiceBuilder::new()
            .layer(RejectionLayer)
            // A rejection is an answer with a body of the stack's, and axum's can be made from anything.
            .map_response(|response: Response<DeadlineBody<Incoming>>| response.map(Body::new))
            .layer(BodyDeadlineLayer)
            .layer(stack)
            .service(client());
        Ok(Self {
            origin: config.url.clone(),
            limit: config.timeout.limit(),
            service: BoxCloneSyncService::new(service),
            breaker: Some(breaker),
        })
    }

    /// Passes a request on, and what comes back.
    pub(crate) async fn call(&self, mut request: Request) -> Response {
        let authority = self.origin.authority();
        let mut uri = request.uri().clone().into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(authority.clone());
        let (Ok(uri), Ok(host)) = (Uri::from_parts(uri), HeaderValue::from_str(authority.as_str())) else {
            return problem::answer(StatusCode::BAD_REQUEST, "the path cannot be passed on");
        };
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        request.extensions_mut().insert(Deadline::after(self.limit));
        let peer = request.extensions().get().map(|Peer(address)| *address);
        headers::forward(request.headers_mut(), peer, host);

        // What is no rejection is a failure of the way to the upstream.
        let mut response = match self.service.clone().oneshot(request).await {
            Ok(response) => response,
            Err(error) => return problem::answer(StatusCode::BAD_GATEWAY, &whole_story(&error)),
        };
        headers::strip(response.headers_mut());
        response
    }

    /// The hold on the circuit breaker, if there is one.
    pub(crate) const fn breaker(&self) -> Option<&CircuitBreakerHandle> {
        self.breaker.as_ref()
    }
}

/// No limits of its own: how long things may take is for the stack to say.
fn client() -> Client<HttpConnector, Body> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .build(connector)
}

/// The error alone prints as "client error (Connect)"; what happened is at the end of the chain.
fn whole_story(error: &legacy::Error) -> String {
    let first: Option<&(dyn Error + 'static)> = error.source();
    match iter::successors(first, |error| (*error).source()).last() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Below the 60 s after which many servers hang up, so that it is not us who find out.
const POOL_IDLE: Duration = Duration::from_secs(50);
