//! The future of a call whose response body has a deadline.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use pin_project::pin_project;

use super::body::DeadlineBody;
use crate::call::Deadline;

/// The inner service's response, with its body held to the deadline.
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
    pub(super) deadline: Option<Deadline>,
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<DeadlineBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        let deadline = *this.deadline;
        Poll::Ready(result.map(|response| response.map(|body| DeadlineBody::new(body, deadline))))
    }
}
