//! The service.

use std::task::{Context, Poll};

use tower_service::Service;

use super::{future::ResponseFuture, handle::PanicGuardHandle};
use crate::call::FromRejected;

/// A service whose panics become rejections. Made by [`PanicGuardLayer`](super::PanicGuardLayer).
///
/// A panic in the inner `poll_ready` is its error. The inner service is called again after a panic.
///
/// # Clone
///
/// Clones share the count.
#[derive(Clone, Debug)]
pub struct PanicGuard<S> {
    inner: S,
    handle: PanicGuardHandle,
}

impl<S> PanicGuard<S> {
    pub(super) const fn new(inner: S, handle: PanicGuardHandle) -> Self {
        Self { inner, handle }
    }

    /// The handle of the count.
    pub fn handle(&self) -> PanicGuardHandle {
        self.handle.clone()
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutably.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, Req> Service<Req> for PanicGuard<S>
where
    S: Service<Req>,
    S::Error: FromRejected,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self.handle.guard(|| self.inner.poll_ready(cx)) {
            Ok(ready) => ready,
            Err(rejected) => Poll::Ready(Err(S::Error::from_rejected(rejected))),
        }
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match self.handle.guard(|| self.inner.call(request)) {
            Ok(inner) => ResponseFuture::running(inner, self.handle()),
            Err(rejected) => ResponseFuture::rejected(rejected),
        }
    }
}
