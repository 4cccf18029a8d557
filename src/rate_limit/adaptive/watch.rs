//! The service inside an adaptive limit: it watches the ends of the calls that pass.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use pin_project::pin_project;
use tower_service::Service;

use super::state::Ended;
use crate::{
    call::{Classifier, Outcome, PendingOutcome, QuotaState},
    rate_limit::handle::RateLimitShared,
    rt::descent,
};

/// The service inside a [`RateLimit`](super::super::RateLimit). If the limit adapts its rate, it learns from each call.
///
/// # Clone
///
/// Clones belong to the same limit.
#[derive(Clone, Debug)]
pub struct Watched<S, C> {
    pub(in crate::rate_limit) inner: S,
    /// `None` if the rate is fixed.
    pub(in crate::rate_limit) watch: Option<Watch<C>>,
}

/// The limit that learns, and how it classifies.
#[derive(Clone, Debug)]
pub(in crate::rate_limit) struct Watch<C> {
    pub(in crate::rate_limit) classifier: C,
    pub(in crate::rate_limit) shared: Arc<RateLimitShared>,
}

/// The future of a call that has passed the limit.
///
/// # Cancellation
///
/// Dropping it drops the inner call. An adaptive limit takes a call that has waited beyond the target latency for slow.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct WatchedFuture<F, C> {
    #[pin]
    inner: F,
    call: Option<Call<C>>,
}

/// A call that has not ended. Dropping it ends it without an answer.
#[derive(Debug)]
struct Call<C> {
    watch: Option<Watch<C>>,
    began: Instant,
}

impl<S, C, Req> Service<Req> for Watched<S, C>
where
    S: Service<Req>,
    C: Classifier<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = WatchedFuture<S::Future, C>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let began = self.watch.as_ref().map(|_| descent::now());
        let inner = self.inner.call(request);
        // After the call: if it panics, there is nothing to learn.
        let call = began.map(|began| Call { watch: self.watch.clone(), began });
        WatchedFuture { inner, call }
    }
}

impl<F, C, R, E> Future for WatchedFuture<F, C>
where
    F: Future<Output = Result<R, E>>,
    C: Classifier<R, E>,
{
    type Output = Result<R, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut result = ready!(this.inner.poll(cx));
        if let Some(call) = this.call.take() {
            call.end(&mut result);
        }
        Poll::Ready(result)
    }
}

impl<C> Call<C> {
    fn end<R, E>(mut self, result: &mut Result<R, E>)
    where
        C: Classifier<R, E>,
    {
        let Some(Watch { classifier, shared }) = self.watch.take() else { return };
        let outcome = classifier.classify(result.as_ref());
        let quota = result.as_ref().ok().and_then(|response| classifier.quota(response));
        let ended = self.ended(Some(outcome), quota);
        match result {
            Ok(response) if outcome == Outcome::Deferred => {
                let settle = move |outcome| shared.learn(&Ended { outcome: Some(outcome), ..ended });
                if let Err(pending) = classifier.defer(response, PendingOutcome::new(settle)) {
                    pending.settle(Outcome::Success);
                }
            }
            _ => shared.learn(&ended),
        }
    }

    fn ended(&self, outcome: Option<Outcome>, quota: Option<QuotaState>) -> Ended {
        let latency = descent::now().saturating_duration_since(self.began);
        Ended { began: self.began, latency, outcome, quota }
    }
}

impl<C> Drop for Call<C> {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.shared.learn(&self.ended(None, None));
        }
    }
}
