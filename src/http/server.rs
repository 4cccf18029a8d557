//! The server stack for HTTP.

use tower_layer::Layer;

use super::{BodyOutcome, BodyOutcomeLayer, RejectionLayer, RequestExtensions, UntilBodyEnd};
use crate::{
    call::{CloneRequest, Protocol},
    stack::server::{ServerBuilder, ServerConfig, ServerConfigSlots},
};

/// The protocol of [`server`]: a response holds its place until the end of its body, and deadlines come from `D`.
pub type ServerProtocol<D = RequestExtensions> = Protocol<UntilBodyEnd, CloneRequest, D>;

/// A builder of a [`ServerStack`](crate::stack::server::ServerStack) for axum and any other server of HTTP.
///
/// The stack is one layer of a `Router`: `.layer(server)`. Rejections become answers, as
/// [`RejectionLayer`] says. The [page of the module](crate::stack::server) has the order of the stages.
///
/// A readiness endpoint stands outside of the stack, because the drain rejects the requests inside. A limit per header
/// needs a header that a proxy or an outer layer has checked: a client that may send any value gets a new limit with each.
/// [`report_quotas`](crate::stack::server::ServerStack::report_quotas) of the built stack tells each client what is left
/// of its limit.
///
/// ```
/// use std::time::Duration;
/// use ::http::{HeaderName, StatusCode};
/// use axum::{Router, routing::get};
/// use tower_reliability::{
///     concurrency_limit::ConcurrencyLimitConfig, drain::DrainConfig, http,
///     rate_limit::RateLimitConfig,
/// };
///
/// const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// const TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");
/// let server = http::server()
///     .drain(DrainConfig::new())
///     .deadlines(http::TimeoutHeader::seconds(TIMEOUT))
///     .rate_limit(RateLimitConfig::per_second(10).burst(50).per_header(API_KEY))
///     .concurrency_limit(ConcurrencyLimitConfig::new(100))
///     .timeout(Duration::from_secs(5))
///     .build()?;
/// let drain = server.drain();
/// let ready = get(async move || match drain.is_draining() {
///     true => StatusCode::SERVICE_UNAVAILABLE,
///     false => StatusCode::OK,
/// });
/// let app: Router = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .layer(server)
///     .route("/ready", ready);
/// # let _ = app;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
pub fn server() -> ServerBuilder<ServerEdge, ServerProtocol> {
    ServerBuilder::new(ServerEdge::new(RejectionLayer::new()), UntilBodyEnd, RequestExtensions)
}

/// A [`server`] with the numbers of a file. Each stage is optional.
pub fn server_from(config: ServerConfig) -> ServerBuilder<ServerEdge, ServerProtocol, ServerConfigSlots> {
    server().config(config)
}

/// The outermost part of a server stack. It makes the answers to rejections, and moves the places of the calls into
/// the response bodies, until these end.
///
/// # Clone
///
/// Clones share nothing.
#[derive(Clone, Copy, Debug)]
pub struct ServerEdge<A = RejectionLayer> {
    answers: A,
}

impl<A> ServerEdge<A> {
    pub(crate) const fn new(answers: A) -> Self {
        Self { answers }
    }
}

impl<S, A: Layer<S>> Layer<S> for ServerEdge<A> {
    type Service = BodyOutcome<A::Service>;

    fn layer(&self, inner: S) -> Self::Service {
        BodyOutcomeLayer.layer(self.answers.layer(inner))
    }
}

impl<A, P, S, Q> ServerBuilder<ServerEdge<A>, P, S, Q> {
    /// Answers rejections by this layer: a [`RejectionLayer`] or a
    /// [`DetailedRejectionLayer`](super::DetailedRejectionLayer), or the layers of the same kind for gRPC.
    ///
    /// ```
    /// use tower_reliability::http::{self, RejectionLayer};
    ///
    /// let answers = RejectionLayer::new().retry_jitter(0.5).detailed();
    /// let server = http::server().answers(answers).build()?;
    /// # let _ = server;
    /// # Ok::<(), tower_reliability::ConfigError>(())
    /// ```
    ///
    /// Default: [`RejectionLayer::new`], and for gRPC `GrpcRejectionLayer::new()`.
    pub fn answers<A2>(self, answers: A2) -> ServerBuilder<ServerEdge<A2>, P, S, Q> {
        self.edge(ServerEdge::new(answers))
    }
}
