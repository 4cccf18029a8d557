//! The future of a call whose rejection becomes an answer.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::Response;
use pin_project::pin_project;

use super::answer::answer;
use crate::IntoRejected;

/// The response of the service below, or the answer to a rejection.
///
/// # Cancellation
///
/// Dropping it drops the call below.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F> {
    #[pin]
    pub(super) inner: F,
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: IntoRejected,
    B: From<String>,
{
    type Output = Result<Response<B>, E::Other>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.project().inner.poll(cx));
        Poll::Ready(result.or_else(|error| error.into_rejected().map(|rejected| answer(&rejected))))
    }
}
