//! The future of a call whose response tells how its stream ended.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::Response;
use bytes::Bytes;
use pin_project::pin_project;
use tonic::body::Body;

use super::body::GrpcOutcomeBody;
use crate::{
    call::{BoxError, Outcome},
    grpc::{GrpcClassifier, classify::Head},
    http::pending_outcomes::PendingOutcomes,
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
        let response = ready!(this.inner.poll(cx))?;
        Poll::Ready(Ok(watch(response, *this.classifier, *this.abandoned, this.on_end.take())))
    }
}

/// The response with a body for the layers that wait for its end, if there are such layers.
pub(in crate::grpc) fn watch_pending<B>(response: Response<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    // Without it, tonic would box the body of every response once more.
    if response.extensions().get::<PendingOutcomes>().is_none() {
        return response.map(Body::new);
    }
    let no_listener: Option<fn(Outcome)> = None;
    watch(response, GrpcClassifier::new(), Outcome::Ignored, no_listener).map(Body::new)
}

fn watch<B, F: FnOnce(Outcome)>(
    mut response: Response<B>,
    classifier: GrpcClassifier,
    abandoned: Outcome,
    on_end: Option<F>,
) -> Response<GrpcOutcomeBody<B, F>> {
    let mut pending = response.extensions_mut().remove::<PendingOutcomes>();
    // Layers that read heads have counted a head that says how the call ended.
    let streams = matches!(Head::of(response.status(), response.headers()), Head::Begun);
    let on_end = on_end.filter(|_| streams);
    if !streams && let Some(pending) = pending.take() {
        pending.settle(classifier.outcome(response.status(), response.headers()));
    }
    response.map(|body| GrpcOutcomeBody::telling(body, classifier, on_end, pending, abandoned))
}
