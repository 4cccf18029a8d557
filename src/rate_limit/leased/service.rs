//! The service.

use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;

use super::leases::{Leases, OneLease};
use crate::{
    call::FromRejected,
    rate_limit::{
        cost::{CostSource, UnitCost},
        keyed::future::ResponseFuture,
    },
};

/// A service whose rate of calls is limited together with other instances. Made by
/// [`LeasedRateLimitLayer`](super::LeasedRateLimitLayer).
///
/// A call takes its units in `call`, or is rejected at once. `poll_ready` reserves none, and waits for the inner service.
///
/// # Clone
///
/// Clones share the leases.
#[derive(Clone)]
pub struct LeasedRateLimit<S, L = OneLease, C = UnitCost> {
    inner: S,
    leases: L,
    costs: C,
}

impl<S, L, C> LeasedRateLimit<S, L, C> {
    pub(super) fn new(inner: S, leases: L, costs: C) -> Self {
        Self { inner, leases, costs }
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

impl<S, L, C, Req> Service<Req> for LeasedRateLimit<S, L, C>
where
    S: Service<Req>,
    S::Error: FromRejected,
    L: Leases<Req>,
    C: CostSource<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        match self.leases.admit(&request, self.costs.cost(&request)) {
            Ok(()) => ResponseFuture::calling(self.inner.call(request)),
            Err(rejected) => ResponseFuture::rejected(rejected),
        }
    }
}

impl<S: fmt::Debug, L, C> fmt::Debug for LeasedRateLimit<S, L, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeasedRateLimit").field("inner", &self.inner).finish_non_exhaustive()
    }
}
