//! The two boundaries of a stack. Between them, the stages share an instant and a timer.

use std::task::{Context, Poll};

use tower_service::Service;

use super::future::BoundaryFuture;
use crate::rt::descent::Scope;

/// The outermost service of a stack, or the innermost one around the user's service.
///
/// Between the two, stages share one reading of the clock and one timer. `INSIDE` is true for the outermost one. Made by
/// [`ReliabilityStack`](super::ReliabilityStack). It needs no runtime, does not panic, and reserves nothing. A clone
/// holds a clone of the inner service and shares nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Boundary<S, const INSIDE: bool> {
    inner: S,
}

impl<S, const INSIDE: bool> Boundary<S, INSIDE> {
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

impl<S: Service<Req>, Req, const INSIDE: bool> Service<Req> for Boundary<S, INSIDE> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoundaryFuture<S::Future, INSIDE>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let _scope = Scope::new(INSIDE);
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let _scope = Scope::new(INSIDE);
        BoundaryFuture { inner: self.inner.call(request) }
    }
}
