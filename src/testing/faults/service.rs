//! The service.

use std::task::{Context, Poll};

use tower_service::Service;

use super::{
    failure::{Failure, NoFailure},
    future::ResponseFuture,
    handle::{Fault, FaultHandle},
};

/// A service with injected faults. Made by [`FaultLayer`](super::FaultLayer).
///
/// Readiness is that of the inner service. A call that fails or hangs by a fault does not reach the inner service.
///
/// # Clone
///
/// Clones share the numbers, the random numbers and the counts.
#[derive(Clone, Debug)]
pub struct Faults<S, F = NoFailure> {
    inner: S,
    failure: F,
    handle: FaultHandle,
}

impl<S, F> Faults<S, F> {
    pub(super) fn new(inner: S, failure: F, handle: FaultHandle) -> Self {
        Self { inner, failure, handle }
    }

    /// The handle of the faults.
    pub fn handle(&self) -> FaultHandle {
        self.handle.clone()
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

impl<S, F, Req> Service<Req> for Faults<S, F>
where
    S: Service<Req>,
    F: Failure<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, S::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match self.handle.draw() {
            Fault::Pass(latency) => ResponseFuture::calling(self.inner.call(request), latency),
            Fault::Fail(latency) => ResponseFuture::failing(self.failure.failure(), latency),
            Fault::Hang => ResponseFuture::hanging(),
        }
    }
}
