//! The layer and its service.

use std::task::{Context, Poll};

use ::http::Response;
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::{body::OutcomeBody, future::ResponseFuture};

/// Moves the places that inner layers hold for a call into the response body, until its end.
///
/// The layer stands outside of each layer with the classifier [`UntilBodyEnd`](super::UntilBodyEnd). In a server that is
/// the outermost place:
///
/// ```
/// use axum::{Router, routing::get};
/// use tower::ServiceBuilder;
/// use tower_reliability::{
///     Error,
///     concurrency_limit::ConcurrencyLimitConfig,
///     http::{BodyOutcomeLayer, RejectionLayer, UntilBodyEnd},
/// };
///
/// let limit = ConcurrencyLimitConfig::new(100).build()?.classify(UntilBodyEnd);
/// let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(
///     ServiceBuilder::new()
///         .layer(BodyOutcomeLayer)
///         .layer(RejectionLayer::new())
///         .layer(limit)
///         .map_err(Error::inner),
/// );
/// # let _ = app;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
///
/// # Clone
///
/// Layers and services share nothing.
///
/// # Panics
///
/// It does not panic, and it needs no runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct BodyOutcomeLayer;

impl<S> Layer<S> for BodyOutcomeLayer {
    type Service = BodyOutcome<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BodyOutcome { inner }
    }
}

/// A service whose response bodies own the places of their calls. Made by [`BodyOutcomeLayer`].
#[derive(Clone, Copy, Debug)]
pub struct BodyOutcome<S> {
    inner: S,
}

impl<S> BodyOutcome<S> {
    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutably.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, Req, B> Service<Req> for BodyOutcome<S>
where
    S: Service<Req, Response = Response<B>>,
    B: Body,
{
    type Response = Response<OutcomeBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        ResponseFuture { inner: self.inner.call(request) }
    }
}
