//! The futures of the outermost and the innermost services of a stack.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use crate::{call::Error, rt::descent::Scope};
use pin_project::pin_project;

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
