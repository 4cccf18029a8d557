//! The future of the innermost service of a stack.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;

use crate::call::Error;

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
