//! The layer and its service.

use std::{
    marker::PhantomData,
    task::{Context, Poll, ready},
};

use ::http::Response;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    answer::{Answers, Problem},
    future::ResponseFuture,
};
use crate::call::{IntoRejected, Rejected};

/// Turns rejections into answers, so that a client is told what happened and an axum router accepts the stack.
///
/// An open circuit is 503 and a timeout 504, with `Retry-After` where a time is known, and a JSON problem body. It
/// stands outside the layers whose rejections it answers. What is no rejection passes as it is.
///
/// The body must be one that can be made from a text, such as axum's `Body`. Over a hyper client, whose body is
/// `Incoming`, put `.map_response(|response| response.map(axum::body::Body::new))` below.
///
/// ```
/// use axum::{Router, routing::get};
/// use tower::ServiceBuilder;
/// use tower_reliability::{circuit_breaker::CircuitBreakerConfig, http::*, stack::ReliabilityStack};
///
/// let stack = ReliabilityStack::builder()
///     .circuit_breaker(CircuitBreakerConfig::new())
///     .classify(HttpClassifier::new())
///     .build()?;
/// let app: Router = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .layer(ServiceBuilder::new().layer(RejectionLayer).layer(stack));
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct RejectionLayer;

impl<S> Layer<S> for RejectionLayer {
    type Service = Rejection<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Rejection::new(inner)
    }
}

/// A service that answers where the one below turns away; `A` says how.
#[derive(Debug)]
pub struct Rejection<S, A = Problem> {
    inner: S,
    /// A layer below turned the caller away before there was a call. The call is answered without asking it again.
    turned_away: Option<Rejected>,
    answers: PhantomData<fn() -> A>,
}

impl<S, A> Rejection<S, A> {
    pub(crate) const fn new(inner: S) -> Self {
        Self { inner, turned_away: None, answers: PhantomData }
    }

    /// The service below.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service below, mutably.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the service out.
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
            Some(rejected) => ResponseFuture::rejected(rejected),
            None => ResponseFuture::running(self.inner.call(request)),
        }
    }
}

impl<S: Clone, A> Clone for Rejection<S, A> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone())
    }
}
