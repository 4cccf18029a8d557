//! The innermost service of a stack: it wraps the error of the user's service.

use std::task::{Context, Poll, ready};

use tower_service::Service;

use super::future::WrapFuture;
use crate::call::Error;

/// Wraps the errors of a service in [`Error`], so that the outer layers can add their rejections.
///
/// Made by [`WrappedErrors`](super::WrappedErrors). It needs no runtime and does not panic. A clone holds a clone of
/// the inner service and shares nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Wrap<S> {
    inner: S,
}

impl<S> Wrap<S> {
    pub(super) const fn new(inner: S) -> Self {
        Self { inner }
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

impl<S: Service<Req>, Req> Service<Req> for Wrap<S> {
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = WrapFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(ready!(self.inner.poll_ready(cx)).map_err(Error::Inner))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        WrapFuture { inner: self.inner.call(request) }
    }
}
