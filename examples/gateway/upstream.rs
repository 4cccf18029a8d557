//! An upstream: its servers, with a stack around them.

use std::{pin::pin, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, Request, StatusCode, Version, header::HOST},
    response::Response,
};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use tower::{Layer, Service, ServiceBuilder};
use tower_reliability::{
    ConfigError, Deadline, Error, ErrorClass, Listener,
    circuit_breaker::CircuitBreakerHandle,
    fallback::{FallbackConfig, FallbackHandle, FallbackLayer},
    hedge::{HedgeHandle, HedgeLayer},
    http::{
        BodyDeadlineLayer, BodyReadTimeoutLayer, DeadlineBody, HttpClassifier, HttpResend, ReconnectLayer,
        RejectionLayer, ReplayLayer, ReportAttemptsLayer,
    },
    retry::RetryHandle,
    stack::ReliabilityStack,
    timeout::TimeoutConfig,
};

use crate::{
    admission::{Admission, Ticket},
    boxed::SharedService,
    config::{HostHeader, UpstreamConfig},
    endpoints::{self, Endpoints, Outgoing, SharedClient},
    forwarded::{self, Peer},
    headers,
    origin::Origin,
    problem,
};

type ToUpstream = SharedService<Request<Incoming>, Response, legacy::Error>;

/// A service behind the gateway, offered by one server or several.
#[derive(Clone)]
pub(crate) struct Upstream {
    name: String,
    /// The longest time of a request, with the body of its answer.
    limit: Duration,
    host: HostHeader,
    admission: Admission,
    service: ToUpstream,
    /// `None` for an upstream without protection.
    handles: Option<Handles>,
}

/// The handles of a protected upstream.
#[derive(Clone)]
pub(crate) struct Handles {
    pub(crate) breakers: Vec<CircuitBreakerHandle>,
    pub(crate) retry: RetryHandle,
    pub(crate) hedge: Option<HedgeHandle>,
    pub(crate) fallback: Option<FallbackHandle>,
}

impl Upstream {
    /// Rejections and events carry the name.
    pub(crate) fn new(
        name: &str,
        config: &UpstreamConfig,
        admission: Admission,
        listener: impl Listener + Clone,
    ) -> Result<Self, ConfigError> {
        let numbers = config.numbers()?;
        let timeout = numbers.timeout.expect("`numbers` has a default");
        let limit = timeout.limit();
        if !config.protected {
            return Ok(Self {
                name: name.to_string(),
                limit,
                host: config.host,
                admission,
                service: bare(config.url.first()),
                handles: None,
            });
        }
        let endpoints = Endpoints::protected(name, &config.url, &numbers, &listener)?;
        let breakers = endpoints.breakers().cloned().collect();
        let several = config.url.len() > 1;
        let retry = numbers.retry.unwrap_or_default();
        let retry = if several { retry.other_endpoints() } else { retry };
        let budget = numbers.retry_budget.unwrap_or_default().build()?;
        let hedge = match numbers.hedge {
            Some(hedge) => {
                // Another server may take a request that one server's circuit rejects.
                let hedge = if several { hedge } else { hedge.no_other_endpoints() };
                let layer = hedge.build()?.protocol(tower_reliability::http::protocol());
                Some(layer.budget(budget.clone()).named(format!("{name}.hedge")))
            }
            None => None,
        };
        let stack = tower_reliability::http::stack()
            .named(name.to_string())
            .timeout(timeout)
            .retry(retry)
            // The hedge is the inner layer of the two, so it records the attempts.
            .retry_budget(if hedge.is_some() { budget.withdraw_only() } else { budget })
            // The endpoints' errors are rejections and failures in one enum already.
            .flat_errors()
            .listen(listener)
            .build()?;
        let retry = stack.retry();
        let fallback = match &config.fallback {
            Some(origin) => Some(
                FallbackConfig::new()
                    .on(ErrorClass::Connection)
                    .build()?
                    .service(secondary(origin, timeout)?)
                    .resend(HttpResend::new())
                    .classify(HttpClassifier::new())
                    .named(format!("{name}.fallback")),
            ),
            None => None,
        };
        let handles = Handles {
            breakers,
            retry,
            hedge: hedge.as_ref().map(HedgeLayer::handle),
            fallback: fallback.as_ref().map(FallbackLayer::handle),
        };
        let back = ServiceBuilder::new().layer(BodyDeadlineLayer).layer(stack);
        // The hedge is outside the choice of the server, so that a second request goes to another one. The fallback is
        // outside the deadline, because it answers when the deadline has passed.
        let service = match (hedge, fallback) {
            (None, None) => front(config, back.service(endpoints)),
            (Some(hedge), None) => front(config, back.layer(hedge).service(endpoints)),
            (None, Some(fallback)) => front(config, fallback.layer(back.service(endpoints))),
            (Some(hedge), Some(fallback)) => {
                front(config, fallback.layer(back.layer(hedge).service(endpoints)))
            }
        };
        Ok(Self {
            name: name.to_string(),
            limit,
            host: config.host,
            admission,
            service,
            handles: Some(handles),
        })
    }

    /// The longest time of a request, with the body of its answer.
    pub(crate) const fn limit(&self) -> Duration {
        self.limit
    }

    /// Passes a request for this host on as soon as the limit of the upstream allows it, and its response back.
    pub(crate) async fn call(
        &self,
        request: Request<Incoming>,
        ticket: Ticket,
        peer: &Peer,
        host: Option<HeaderValue>,
    ) -> Response {
        let answer = pin!(self.pass(request, ticket.deadline, peer, host));
        self.admission.admit(ticket, answer).await
    }

    async fn pass(
        &self,
        mut request: Request<Incoming>,
        deadline: Deadline,
        peer: &Peer,
        host: Option<HeaderValue>,
    ) -> Response {
        *request.version_mut() = Version::HTTP_11;
        request.extensions_mut().insert(deadline);
        let headers = request.headers_mut();
        headers::strip(headers);
        forwarded::forward(headers, peer, host.as_ref());
        match host {
            Some(host) if self.host == HostHeader::Preserve => drop(headers.insert(HOST, host)),
            // The client of the upstream adds the server's.
            _ => drop(headers.remove(HOST)),
        }

        let mut response = match self.service.call(request).await {
            Ok(response) => response,
            // Rejections are answers by now, so this is a failure on the way to the upstream.
            Err(error) => {
                tracing::warn!("{:?}: {}", self.name, Error::Inner(error).report());
                return problem::answer(StatusCode::BAD_GATEWAY, "The upstream could not be reached.");
            }
        };
        headers::strip(response.headers_mut());
        response
    }

    /// The limit on the requests to all of its servers.
    pub(crate) const fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The handles, if the upstream is protected.
    pub(crate) const fn handles(&self) -> Option<&Handles> {
        self.handles.as_ref()
    }
}

/// Puts the layers of every protected upstream around its protections.
///
/// It is generic, so that an absent hedge or fallback takes no room in the future of a call.
fn front<S>(config: &UpstreamConfig, protected: S) -> ToUpstream
where
    S: Service<
            Outgoing,
            Response = Response<DeadlineBody<Incoming>>,
            Error = Error<legacy::Error>,
            Future: Send,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    SharedService::new(
        ServiceBuilder::new()
            .layer(RejectionLayer::new())
            // The rejection layer makes a body from a text, so the response body must be axum's.
            .map_response(|response: Response<DeadlineBody<Incoming>>| response.map(Body::new))
            .layer(ReportAttemptsLayer)
            .layer(BodyReadTimeoutLayer::new().limit(config.body_read_timeout))
            .layer(ReplayLayer::new())
            .service(protected),
    )
}

/// A plain reverse proxy.
fn bare(origin: &Origin) -> ToUpstream {
    let origin = origin.clone();
    SharedService::new(
        ServiceBuilder::new()
            .map_response(|response: Response<Incoming>| response.map(Body::new))
            .map_request(move |mut request: Request<Incoming>| {
                endpoints::direct(&mut request, &origin);
                request
            })
            .service(SharedClient::new()),
    )
}

/// The server that answers instead of the upstream. It has a time of its own.
fn secondary(origin: &Origin, timeout: TimeoutConfig) -> Result<Secondary, ConfigError> {
    let (origin, stack) = (origin.clone(), ReliabilityStack::builder().timeout(timeout).build()?);
    Ok(SharedService::new(
        ServiceBuilder::new()
            .map_request(move |mut request: Outgoing| {
                endpoints::direct(&mut request, &origin);
                request
            })
            // The deadline of the request has passed. The body has the same time again from its head on.
            .map_response(move |response: Response<Incoming>| {
                let deadline = Deadline::after(timeout.limit());
                response.map(|body| DeadlineBody::new(body, Some(deadline)))
            })
            .layer(stack)
            .layer(ReconnectLayer::new())
            .service(SharedClient::new()),
    ))
}

type Secondary = SharedService<Outgoing, Response<DeadlineBody<Incoming>>, Error<legacy::Error>>;
