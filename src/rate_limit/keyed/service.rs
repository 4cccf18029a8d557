//! The keyed service.

use std::{
    fmt,
    hash::Hash,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{future::ResponseFuture, handle::KeyedRateLimitHandle};
use crate::{
    call::FromRejected,
    keyed::KeySource,
    rate_limit::cost::{CostSource, UnitCost},
};

/// A service with a limited rate of calls per key. Made by [`KeyedRateLimitLayer`](super::KeyedRateLimitLayer).
///
/// A call takes its tokens in `call`, or is rejected at once. `poll_ready` reserves none. The limit learns the key only with
/// the request, so `poll_ready` waits for the inner service even if a key has no tokens.
///
/// # Clone
///
/// Clones share the limits.
#[derive(Clone)]
pub struct KeyedRateLimit<S, K, F, C = UnitCost> {
    inner: S,
    /// `None` in the layer of an absent stage.
    key: Option<F>,
    costs: Option<C>,
    handle: KeyedRateLimitHandle<K>,
}

impl<S, K, F, C> KeyedRateLimit<S, K, F, C> {
    pub(super) fn new(inner: S, key: Option<F>, costs: Option<C>, handle: KeyedRateLimitHandle<K>) -> Self {
        Self { inner, key, costs, handle }
    }

    /// The handle of the limits.
    pub fn handle(&self) -> KeyedRateLimitHandle<K> {
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

impl<S, K, F, C, Req> Service<Req> for KeyedRateLimit<S, K, F, C>
where
    S: Service<Req>,
    S::Error: FromRejected,
    K: Hash + Eq + Clone,
    F: KeySource<Req, K>,
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
        let (Some(key), Some(costs)) = (&self.key, &self.costs) else {
            return ResponseFuture::calling(self.inner.call(request));
        };
        match self.handle.admit(&key.key(&request), costs.cost(&request)) {
            Ok(()) => ResponseFuture::calling(self.inner.call(request)),
            Err(rejected) => ResponseFuture::rejected(rejected),
        }
    }
}

impl<S: fmt::Debug, K, F, C> fmt::Debug for KeyedRateLimit<S, K, F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimit").field("inner", &self.inner).finish_non_exhaustive()
    }
}
