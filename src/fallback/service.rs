//! The service.

use std::{
    fmt,
    task::{Context, Poll, ready},
};

use tower_service::Service;

use super::{
    future::{ResponseFuture, Spare},
    handle::FallbackHandle,
    mark::{Mark, Unmarked},
    source::Source,
};
use crate::call::{AsRejected, Classifier, FromRejected, Rejected, StandardClassifier};

/// A service that has another answer where the one below turns away or fails.
///
/// A rejection that comes from `poll_ready` already is answered too, in the call that follows. Any other error from
/// there passes through: such a service has ended.
///
/// # Clone
///
/// Clones share the numbers, the counts and the last good answers.
pub struct Fallback<S, A, C = StandardClassifier, M = Unmarked> {
    inner: S,
    source: A,
    classifier: C,
    mark: M,
    handle: FallbackHandle,
    /// Set by a `poll_ready` in which a layer below turned the caller away. The call does not ask it again.
    turned_away: Option<Rejected>,
}

impl<S, A, C, M> Fallback<S, A, C, M> {
    pub(super) fn new(inner: S, source: A, classifier: C, mark: M, handle: FallbackHandle) -> Self {
        Self { inner, source, classifier, mark, handle, turned_away: None }
    }

    /// A hold on the numbers and the counts.
    pub fn handle(&self) -> FallbackHandle {
        self.handle.clone()
    }

    /// The service below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service below, mutably.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the service out.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, A, C, M, Req> Service<Req> for Fallback<S, A, C, M>
where
    S: Service<Req>,
    S::Error: AsRejected + FromRejected,
    A: Source<Req, S::Response, S::Error>,
    C: Classifier<S::Response, S::Error> + Clone,
    M: Mark<S::Response> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, A, C, M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.turned_away = None;
        let Err(error) = ready!(self.inner.poll_ready(cx)) else { return Poll::Ready(Ok(())) };
        self.turned_away = error.as_rejected().cloned();
        Poll::Ready(if self.turned_away.is_some() { Ok(()) } else { Err(error) })
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        let spare = Spare {
            kept: self.source.keep(&mut request),
            source: self.source.clone(),
            classifier: self.classifier.clone(),
            mark: self.mark.clone(),
            handle: self.handle.clone(),
        };
        match self.turned_away.take() {
            Some(rejected) => ResponseFuture::turned_away(rejected, spare),
            None => ResponseFuture::running(self.inner.call(request), spare),
        }
    }
}

impl<S: Clone, A: Clone, C: Clone, M: Clone> Clone for Fallback<S, A, C, M> {
    fn clone(&self) -> Self {
        let (classifier, mark) = (self.classifier.clone(), self.mark.clone());
        Self::new(self.inner.clone(), self.source.clone(), classifier, mark, self.handle.clone())
    }
}

impl<S: fmt::Debug, A, C, M> fmt::Debug for Fallback<S, A, C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback")
            .field("inner", &self.inner)
            .field("name", self.handle.name())
            .finish_non_exhaustive()
    }
}
