//! An upstream: several servers, with a stack around them.

use std::{error, iter, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{StatusCode, Version},
    response::Response,
};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use tower::{ServiceBuilder, ServiceExt, util::BoxCloneSyncService};
use tower_reliability::{
    ConfigError, Deadline, Error, Listener, Protocol,
    circuit_breaker::CircuitBreakerHandle,
    fallback::{FallbackConfig, FallbackHandle, FallbackLayer},
    hedge::{HedgeHandle, HedgeLayer},
    http::{
        BodyDeadlineLayer, DeadlineBody, HttpClassifier, HttpResend, RejectionLayer, ReplayLayer,
        ReportAttemptsLayer, RequestExtensions,
    },
    retry::RetryHandle,
    retry_budget::RetryBudget,
    stack::ReliabilityStack,
    timeout::TimeoutConfig,
};

use crate::{
    config::UpstreamConfig,
    endpoints::{self, Endpoints, Outgoing},
    headers,
    origin::Origin,
    problem,
    server::Peer,
};

/// A service that requests are passed on to, which several servers may offer.
#[derive(Clone)]
pub(crate) struct Upstream {
    /// How long a request may take, its answer's body included.
    limit: Duration,
    service: BoxCloneSyncService<Request, Response, legacy::Error>,
    /// `None` where the upstream is not protected.
    handles: Option<Handles>,
}

/// What can be seen of a protected upstream.
#[derive(Clone)]
pub(crate) struct Handles {
    pub(crate) breakers: Vec<CircuitBreakerHandle>,
    pub(crate) retry: RetryHandle,
    pub(crate) hedge: Option<HedgeHandle>,
    pub(crate) fallback: Option<FallbackHandle>,
}

impl Upstream {
    /// The name is what rejections and events call the upstream.
    pub(crate) fn new(
        name: &str,
        config: &UpstreamConfig,
        listener: impl Listener + Clone,
    ) -> Result<Self, ConfigError> {
        check(config)?;
        let limit = config.timeout.limit();
        if !config.protected {
            return Ok(Self { limit, service: bare(config.url.first()), handles: None });
        }
        let endpoints = Endpoints::protected(name, config, &listener)?;
        let breakers = endpoints.breakers().cloned().collect();
        let retry = if config.url.len() > 1 { config.retry.other_endpoints() } else { config.retry };
        let budget = config.retry_budget.build().map_err(|error| error.within("retry_budget"))?;
        let hedge = hedge(name, config, &budget)?;
        let stack = ReliabilityStack::builder()
            .named(name.to_string())
            .timeout(config.timeout)
            .retry(retry)
            // The hedge is the inner layer of the two, so it records the attempts.
            .retry_budget(if hedge.is_some() { budget.withdraw_only() } else { budget })
            .resend(HttpResend::new())
            .classify(HttpClassifier::new())
            .deadlines(RequestExtensions)
            // The errors of the endpoints are what this stack passes on: rejections and failures, in one enum.
            .flat_errors()
            .listen(listener)
            .build()?;
        let retry = stack.retry();
        let fallback = match &config.fallback {
            Some(origin) => Some(
                FallbackConfig::new()
                    .build()?
                    .service(secondary(origin, config.timeout)?)
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
        let service = ServiceBuilder::new()
            .layer(RejectionLayer)
            // A rejection is an answer with a body of the stack's, and axum's can be made from anything.
            .map_response(|response: Response<DeadlineBody<Incoming>>| response.map(Body::new))
            .layer(ReportAttemptsLayer)
            .layer(ReplayLayer::new())
            // Around the deadline, because what stands in comes when there was no time left.
            .option_layer(fallback)
            .layer(BodyDeadlineLayer)
            .layer(stack)
            // Around the choice of the server, so that a second request goes to another one.
            .option_layer(hedge)
            .service(endpoints);
        Ok(Self { limit, service: BoxCloneSyncService::new(service), handles: Some(handles) })
    }

    /// Passes a request on, and what comes back.
    pub(crate) async fn call(&self, mut request: Request) -> Response {
        *request.version_mut() = Version::HTTP_11;
        request.extensions_mut().insert(Deadline::after(self.limit));
        let peer = request.extensions().get().map(|Peer(address)| *address);
        headers::forward(request.headers_mut(), peer);

        // What is no rejection is a failure of the way to the upstream.
        let mut response = match self.service.clone().oneshot(request).await {
            Ok(response) => response,
            Err(error) => return problem::answer(StatusCode::BAD_GATEWAY, &whole_story(&error)),
        };
        headers::strip(response.headers_mut());
        response
    }

    /// What can be seen of it, if it is protected.
    pub(crate) const fn handles(&self) -> Option<&Handles> {
        self.handles.as_ref()
    }
}

/// Whether all the numbers go together, which are spread over the stacks here.
fn check(config: &UpstreamConfig) -> Result<(), ConfigError> {
    let numbers = ReliabilityStack::builder()
        .timeout(config.timeout)
        .retry(config.retry)
        .circuit_breaker(config.circuit_breaker)
        .attempt_timeout(config.attempt_timeout);
    match config.hedge {
        Some(hedge) => numbers.hedge(hedge).build().map(drop),
        None => numbers.build().map(drop),
    }
}

/// A second request where the first one is slow, if that is wanted. It stands below the retry, under the same budget.
fn hedge(
    name: &str,
    config: &UpstreamConfig,
    budget: &RetryBudget,
) -> Result<Option<HedgeLayer<Protocol<HttpClassifier, HttpResend>>>, ConfigError> {
    let Some(hedge) = config.hedge else { return Ok(None) };
    // Where one server has turned it away, there may be another one that does not.
    let hedge = if config.url.len() > 1 { hedge } else { hedge.no_other_endpoints() };
    let layer = hedge.build()?.classify(HttpClassifier::new()).resend(HttpResend::new());
    Ok(Some(layer.budget(budget.clone()).named(format!("{name}.hedge"))))
}

/// A plain client.
fn bare(origin: &Origin) -> BoxCloneSyncService<Request, Response, legacy::Error> {
    let origin = origin.clone();
    BoxCloneSyncService::new(
        ServiceBuilder::new()
            .map_response(|response: Response<Incoming>| response.map(Body::new))
            .layer(ReplayLayer::new())
            .map_request(move |mut request: Outgoing| {
                endpoints::direct(&mut request, &origin);
                request
            })
            .service(endpoints::client()),
    )
}

/// Whom to ask when the upstream is not to be asked. It has its own time.
fn secondary(origin: &Origin, timeout: TimeoutConfig) -> Result<Secondary, ConfigError> {
    let (origin, stack) = (origin.clone(), ReliabilityStack::builder().timeout(timeout).build()?);
    Ok(BoxCloneSyncService::new(
        ServiceBuilder::new()
            .map_request(move |mut request: Outgoing| {
                endpoints::direct(&mut request, &origin);
                request
            })
            // The deadline of the request is over; the body has as much time again, from its head on.
            .map_response(move |response: Response<Incoming>| {
                let deadline = Deadline::after(timeout.limit());
                response.map(|body| DeadlineBody::new(body, Some(deadline)))
            })
            .layer(stack)
            .service(endpoints::client()),
    ))
}

type Secondary = BoxCloneSyncService<Outgoing, Response<DeadlineBody<Incoming>>, Error<legacy::Error>>;

/// The error alone prints as "client error (Connect)"; what happened is at the end of the chain.
fn whole_story(error: &legacy::Error) -> String {
    let first: Option<&(dyn error::Error + 'static)> = error::Error::source(error);
    match iter::successors(first, |error| (*error).source()).last() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
