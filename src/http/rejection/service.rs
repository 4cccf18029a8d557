//! The layer and its service.

use std::{
    marker::PhantomData,
    task::{Context, Poll, ready},
};

use ::http::Response;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    answer::{Answers, DetailedProblem, Problem},
    future::ResponseFuture,
    jitter::Jitter,
};
use crate::call::{IntoRejected, Rejected};

/// Turns rejections into HTTP answers. The layer stands around the layers that reject.
///
/// | rejection | status |
/// |---|---|
/// | open circuit, probes taken, ramping, no permit of a concurrency limit | 503, with `Retry-After` where the time is known |
/// | drain | 503, with `Connection: close` |
/// | rate limit | 429, with `Retry-After` |
/// | more cost than a rate limit ever lets pass | 413 |
/// | timeout, deadline exceeded | 504 |
/// | panic, wait outside of a runtime | 500 |
/// | stalled upload | 408 |
///
/// The body is a JSON problem document with a fixed sentence per status. It discloses no layer, address or count;
/// [`detailed`](Self::detailed) answers do. Errors that are no rejection pass as they are.
///
/// The response body must be made from a text, as axum's `Body` can be. A hyper client's `Incoming` cannot:
/// put `.map_response(|response| response.map(axum::body::Body::new))` directly inside this layer.
///
/// ```
/// use axum::{Router, routing::get};
/// use tower::ServiceBuilder;
/// use tower_reliability::{
///     ReliabilityStack, circuit_breaker::CircuitBreakerConfig,
///     http::{HttpClassifier, RejectionLayer},
/// };
///
/// let stack = ReliabilityStack::builder()
///     .circuit_breaker(CircuitBreakerConfig::new())
///     .classify(HttpClassifier::new())
///     .build()?;
/// let app: Router = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .layer(ServiceBuilder::new().layer(RejectionLayer::new()).layer(stack));
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RejectionLayer {
    jitter: Jitter,
}

impl RejectionLayer {
    /// Answers without details.
    #[must_use]
    pub const fn new() -> Self {
        Self { jitter: Jitter::DEFAULT }
    }

    /// Lets clients wait up to this much longer than the rejection says, as a ratio of the wait.
    ///
    /// A crowd of clients that is rejected in one moment otherwise returns in one moment. With a high ratio the clients
    /// return over a long time, and with a low one they return soon. `Retry-After` has whole seconds, so any ratio above 0
    /// adds up to a second at least. The wait gets longer only. 0 to 1; a ratio out of range becomes the nearest one.
    /// Default: 0.25.
    #[must_use]
    pub const fn retry_jitter(self, ratio: f64) -> Self {
        Self { jitter: Jitter::new(ratio) }
    }

    /// Answers with the layer's name and the reason, such as `circuit open (consecutive failures: 5)`.
    ///
    /// Details help operators, and tell clients the names and numbers of the layers. Use it only where all clients are
    /// your own. Default: off.
    #[must_use]
    pub const fn detailed(self) -> DetailedRejectionLayer {
        DetailedRejectionLayer { jitter: self.jitter }
    }
}

impl Default for RejectionLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for RejectionLayer {
    type Service = Rejection<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Rejection::new(inner, self.jitter)
    }
}

/// A [`RejectionLayer`] whose answers name layer and reason. Made by [`RejectionLayer::detailed`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetailedRejectionLayer {
    jitter: Jitter,
}

impl<S> Layer<S> for DetailedRejectionLayer {
    type Service = Rejection<S, DetailedProblem>;

    fn layer(&self, inner: S) -> Self::Service {
        Rejection::new(inner, self.jitter)
    }
}

/// A service that answers rejected calls. `A` makes the answers.
#[derive(Debug)]
pub struct Rejection<S, A = Problem> {
    inner: S,
    /// The inner `poll_ready` was rejected. The next call is answered without an inner call.
    turned_away: Option<Rejected>,
    jitter: Jitter,
    answers: PhantomData<fn() -> A>,
}

impl<S, A> Rejection<S, A> {
    pub(crate) const fn new(inner: S, jitter: Jitter) -> Self {
        Self { inner, turned_away: None, jitter, answers: PhantomData }
    }

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

impl<S, A, B, Req> Service<Req> for Rejection<S, A>
where
    S: Service<Req, Response = Response<B>>,
    S::Error: IntoRejected,
    A: Answers<B>,
{
    type Response = Response<B>;
    type Error = <S::Error as IntoRejected>::Other;
    type Future = ResponseFuture<S::Future, A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match ready!(self.inner.poll_ready(cx)).map_err(IntoRejected::into_rejected) {
            Ok(()) => self.turned_away = None,
            Err(Ok(rejected)) => self.turned_away = Some(rejected),
            Err(Err(other)) => return Poll::Ready(Err(other)),
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match self.turned_away.take() {
            Some(rejected) => ResponseFuture::rejected(rejected, self.jitter),
            None => ResponseFuture::running(self.inner.call(request), self.jitter),
        }
    }
}

impl<S: Clone, A> Clone for Rejection<S, A> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.jitter)
    }
}
