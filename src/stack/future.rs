//! The futures of the outermost and the innermost services of a stack, and of an optional stage.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::optional::{Maybe, MaybeProj};
use crate::{call::Error, rt::descent::Scope};

/// Waits for the inner service and wraps its error in [`Error`].
///
/// # Cancellation
///
/// Dropping the future drops the call of the inner service.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct WrapFuture<F> {
    #[pin]
    pub(super) inner: F,
}

impl<F, R, E> Future for WrapFuture<F>
where
    F: Future<Output = Result<R, E>>,
{
    type Output = Result<R, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(self.project().inner.poll(cx)).map_err(Error::Inner))
    }
}

/// Waits for the inner service, inside the stack or outside.
///
/// # Cancellation
///
/// Dropping the future drops the call of the inner service.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct BoundaryFuture<F, const INSIDE: bool> {
    #[pin]
    pub(super) inner: F,
}

impl<F: Future, const INSIDE: bool> Future for BoundaryFuture<F, INSIDE> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let _scope = Scope::new(INSIDE);
        self.project().inner.poll(cx)
    }
}

/// The future of an optional stage: that of the stage, or that of the inner service.
///
/// # Cancellation
///
/// Dropping it drops the future inside, which says what happens then.
// It has the parameters of the service, for the same reason: the type of the inner future is named once.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct OptionalFuture<L: Layer<S, Service: Service<Req>>, S: Service<Req>, Req>(
    #[pin] pub(super) Maybe<<L::Service as Service<Req>>::Future, S::Future>,
);

impl<L, S, Req> Future for OptionalFuture<L, S, Req>
where
    L: Layer<S, Service: Service<Req, Response = S::Response, Error = S::Error>>,
    S: Service<Req>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().0.project() {
            MaybeProj::Present(future) => future.poll(cx),
            MaybeProj::Absent(future) => future.poll(cx),
        }
    }
}

impl<L: Layer<S, Service: Service<Req>>, S: Service<Req>, Req> fmt::Debug for OptionalFuture<L, S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Maybe::Present(_) => "Present",
            Maybe::Absent(_) => "Absent",
        })
    }
}
