//! The future of a call that reports its retries.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use pin_project::pin_project;

use crate::{call::CallHistory, http::retry_attempt};

/// The inner service's response, with a header if there were retries.
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
    pub(super) history: CallHistory,
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut result = ready!(this.inner.poll(cx));
        let retries = this.history.retries();
        // Without retries on this side, the report of a server closer to the backend passes unchanged.
        if let (Ok(response), 1..) = (&mut result, retries) {
            retry_attempt::report(response.headers_mut(), retries);
        }
        Poll::Ready(result)
    }
}
