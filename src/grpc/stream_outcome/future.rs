//! The future of a call whose response tells how its stream ended.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::Response;
use pin_project::pin_project;

use super::{body::GrpcOutcomeBody, pending_outcomes::PendingOutcomes};
use crate::{
    call::Outcome,
    grpc::{GrpcClassifier, classify::Head},
};

/// Waits for the inner service and wraps the body of its response in [`GrpcOutcomeBody`].
///
/// # Cancellation
///
/// Dropping the future drops the inner call. There is no stream yet, so `on_end` is not told.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<Fut, F> {
    #[pin]
    pub(super) inner: Fut,
    pub(super) classifier: GrpcClassifier,
    pub(super) abandoned: Outcome,
    pub(super) on_end: Option<F>,
}

impl<Fut, B, E, F> Future for ResponseFuture<Fut, F>
where
    Fut: Future<Output = Result<Response<B>, E>>,
    F: FnOnce(Outcome),
{
    type Output = Result<Response<GrpcOutcomeBody<B, F>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        let mut pending = response.extensions_mut().remove::<PendingOutcomes>();
        // Layers that read heads have counted a head that says how the call ended.
        let streams = matches!(Head::of(response.status(), response.headers()), Head::Begun);
        let on_end = this.on_end.take().filter(|_| streams);
        let (classifier, abandoned) = (*this.classifier, *this.abandoned);
        if !streams && let Some(pending) = pending.take() {
            pending.settle(classifier.outcome(response.status(), response.headers()));
        }
        Poll::Ready(Ok(
            response.map(|body| GrpcOutcomeBody::telling(body, classifier, on_end, pending, abandoned))
        ))
    }
}
