//! The layer and its service.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::body::ReadTimeoutBody;

/// Ends requests with a stalled upload. For servers and proxies.
///
/// The inner service sees a [`ReadTimeoutBody`], which fails with a [`Rejected`](crate::Rejected) for
/// [`UploadStalled`](crate::Reason::UploadStalled). In a proxy the client that sends the body on fails with it, and
/// an outer [`RejectionLayer`](crate::http::RejectionLayer) answers 408. Breakers, budgets and statistics see an
/// [`Ignored`](crate::Outcome::Ignored) outcome.
///
/// A handler that reads the body itself receives the error and chooses the answer. axum's extractors answer 400.
///
/// ```
/// use std::time::Duration;
/// use axum::body::Body;
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::ServiceBuilder;
/// use tower_reliability::http::{BodyReadTimeoutLayer, ReplayLayer};
///
/// let stack = tower_reliability::http::stack()
///     .attempt_timeout(Duration::from_secs(5))
///     .build()?;
/// let proxy = ServiceBuilder::new()
///     .layer(BodyReadTimeoutLayer::new())
///     .layer(ReplayLayer::new())
///     .layer(stack)
///     .service(Client::builder(TokioExecutor::new()).build_http());
/// # fn used<S: tower::Service<http::Request<Body>>>(_: S) {}
/// # used(proxy);
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
///
/// # Clone
///
/// Layers and services share nothing.
///
/// # Panics
///
/// The layer does not panic. A [`ReadTimeoutBody`] that waits needs a tokio runtime with time enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyReadTimeoutLayer {
    limit: Duration,
}

impl BodyReadTimeoutLayer {
    /// With the default limit.
    #[must_use]
    pub const fn new() -> Self {
        Self { limit: LIMIT }
    }

    /// Limits the wait for each frame of a request body.
    ///
    /// A short limit frees connections early, and cuts off clients on poor networks. Range: any; 0 allows no wait.
    /// Default: 30 s.
    #[must_use]
    pub const fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

impl Default for BodyReadTimeoutLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for BodyReadTimeoutLayer {
    type Service = BodyReadTimeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BodyReadTimeout { inner, limit: self.limit }
    }
}

/// A service that limits the wait for request bodies. Made by [`BodyReadTimeoutLayer`].
#[derive(Clone, Copy, Debug)]
pub struct BodyReadTimeout<S> {
    inner: S,
    limit: Duration,
}

impl<S> BodyReadTimeout<S> {
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

impl<S, B> Service<Request<B>> for BodyReadTimeout<S>
where
    S: Service<Request<ReadTimeoutBody<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let limit = self.limit;
        self.inner.call(request.map(|body| ReadTimeoutBody::new(body, limit)))
    }
}

/// nginx waits 60 s for a client's next packet, hyper 30 s for its headers.
const LIMIT: Duration = Duration::from_secs(30);
