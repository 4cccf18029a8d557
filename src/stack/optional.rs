//! A stage that a config may leave out: the layer, its service, and its future.

use std::{
    fmt,
    task::{Context, Poll},
};

use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::future::OptionalFuture;

/// The layer of a stage that was given as an `Option`: the layer of the stage, or no layer.
///
/// Without the layer, a call behaves as in a stack without the stage. The types are those of the stage in both cases:
/// an optional retry asks for requests that can be copied.
///
/// # Clone
///
/// Clones share the state of the layer.
#[derive(Clone, Copy, Debug)]
pub struct OptionalLayer<L>(pub(super) Option<L>);

impl<L> OptionalLayer<L> {
    /// The layer, if the stage is present.
    pub const fn get_ref(&self) -> Option<&L> {
        self.0.as_ref()
    }
}

impl<S, L: Layer<S>> Layer<S> for OptionalLayer<L> {
    type Service = Optional<L, S>;

    fn layer(&self, inner: S) -> Optional<L, S> {
        Optional(match &self.0 {
            Some(layer) => Maybe::Present(layer.layer(inner)),
            None => Maybe::Absent(inner),
        })
    }
}

/// A service with the layer `L` around it, or without. Made by [`OptionalLayer`].
///
/// It needs no runtime and does not panic by itself.
///
/// # Clone
///
/// A clone holds a clone of the service, which shares what clones of that service share.
// The parameters are the layer and the inner service, and not the two services. So the type names the inner service
// once, and ten optional stages have a type ten times as long, not a thousand times. The compiler still proves its bounds
// twice.
pub struct Optional<L: Layer<S>, S>(Maybe<L::Service, S>);

impl<L, S, Req> Service<Req> for Optional<L, S>
where
    L: Layer<S, Service: Service<Req, Response = S::Response, Error = S::Error>>,
    S: Service<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = OptionalFuture<L, S, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match &mut self.0 {
            Maybe::Present(service) => service.poll_ready(cx),
            Maybe::Absent(inner) => inner.poll_ready(cx),
        }
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match &mut self.0 {
            Maybe::Present(service) => OptionalFuture(Maybe::Present(service.call(request))),
            Maybe::Absent(inner) => OptionalFuture(Maybe::Absent(inner.call(request))),
        }
    }
}

impl<L: Layer<S, Service: Clone>, S: Clone> Clone for Optional<L, S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<L: Layer<S, Service: fmt::Debug>, S: fmt::Debug> fmt::Debug for Optional<L, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Maybe::Present(service) => f.debug_tuple("Present").field(service).finish(),
            Maybe::Absent(inner) => f.debug_tuple("Absent").field(inner).finish(),
        }
    }
}

/// A service or a future: that of the stage, or the inner one.
#[pin_project(project = MaybeProj)]
#[derive(Clone)]
pub(super) enum Maybe<A, S> {
    Present(#[pin] A),
    Absent(#[pin] S),
}
