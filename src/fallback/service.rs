//! The service.

use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    answer::Answer,
    future::{Call, ResponseFuture},
    handle::FallbackHandle,
    layer::FallbackLayer,
};
use crate::call::{AsRejected, Classifier, StandardClassifier};

/// A service with another answer for rejected and failed calls. Made by [`FallbackLayer`].
///
/// An error of the inner `poll_ready` passes through: such a service has ended. The layers of this crate reject in the
/// call.
///
/// # Clone
///
/// Clones share the numbers, the counts and the last good answers.
#[derive(Clone)]
pub struct Fallback<S, A, C = StandardClassifier> {
    pub(super) inner: S,
    pub(super) layer: FallbackLayer<A, C>,
}

impl<S, A, C> Fallback<S, A, C> {
    /// The handle to the numbers and the counts.
    pub fn handle(&self) -> FallbackHandle {
        self.layer.handle()
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutably.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, A, C, Req> Service<Req> for Fallback<S, A, C>
where
    S: Service<Req>,
    S::Error: AsRejected,
    A: Answer<Req, S::Response, S::Error>,
    C: Classifier<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, A, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        let call = Call { kept: self.layer.source.keep(&mut request), layer: self.layer.clone() };
        ResponseFuture::new(self.inner.call(request), call)
    }
}

impl<S: fmt::Debug, A, C> fmt::Debug for Fallback<S, A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback")
            .field("inner", &self.inner)
            .field("name", self.layer.handle.name())
            .finish_non_exhaustive()
    }
}
