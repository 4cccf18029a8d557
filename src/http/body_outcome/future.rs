//! The future of a call whose response body owns the places of the call.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::Response;
use http_body::Body;
use pin_project::pin_project;

use super::body::OutcomeBody;

/// The inner service's response, with an [`OutcomeBody`].
///
/// # Cancellation
///
/// Dropping it drops the inner call.
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
    B: Body,
{
    type Output = Result<Response<OutcomeBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.project().inner.poll(cx));
        Poll::Ready(result.map(OutcomeBody::of))
    }
}
