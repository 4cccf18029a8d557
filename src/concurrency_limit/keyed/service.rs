//! The keyed service.

use std::{
    fmt::{self, Display},
    hash::Hash,
    task::{Context, Poll, ready},
};

use tower_service::Service;

use super::handle::KeyedConcurrencyLimitHandle;
use crate::{
    call::{Classifier, DeadlineSource, FromRejected, NoDeadline, NoPriority, PrioritySource, UntilResponse},
    concurrency_limit::{future::ResponseFuture, layer::ConcurrencyLimitLayer},
    keyed::KeySource,
};

/// A service with a limited number of calls in flight per key.
///
/// The limit is known only with the request, so `poll_ready` waits for the inner service. A call that then waits for a
/// permit gives up its place in the inner service, and makes a clone ready after it has its permit.
///
/// # Clone
///
/// Clones share the limits.
pub struct KeyedConcurrencyLimit<S, K, F, C = UntilResponse, P = NoPriority, D = NoDeadline> {
    inner: S,
    /// Whether the inner service has been found ready since the last call.
    is_ready: bool,
    /// `None` in the layer of an absent stage.
    key: Option<F>,
    layer: ConcurrencyLimitLayer<C, P, D>,
    handle: KeyedConcurrencyLimitHandle<K>,
}

impl<S, K, F, C, P, D> KeyedConcurrencyLimit<S, K, F, C, P, D> {
    pub(super) fn new(
        inner: S,
        key: Option<F>,
        layer: ConcurrencyLimitLayer<C, P, D>,
        handle: KeyedConcurrencyLimitHandle<K>,
    ) -> Self {
        Self { inner, is_ready: false, key, layer, handle }
    }

    /// The handle of the limits.
    pub fn handle(&self) -> KeyedConcurrencyLimitHandle<K> {
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

impl<S, K, F, C, P, D, Req> Service<Req> for KeyedConcurrencyLimit<S, K, F, C, P, D>
where
    S: Service<Req> + Clone,
    S::Error: FromRejected,
    K: Hash + Eq + Clone + Display,
    F: KeySource<Req, K>,
    C: Classifier<S::Response, S::Error> + Clone,
    P: PrioritySource<Req>,
    D: DeadlineSource<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.is_ready = false;
        ready!(self.inner.poll_ready(cx))?;
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let Some(key) = &self.key else {
            self.is_ready = false;
            return ResponseFuture::calling(self.inner.call(request), None, self.layer.classifier.clone());
        };
        let limit = self.handle.for_call(&key.key(&request));
        self.layer.admit(&limit.shared, &mut self.inner, &mut self.is_ready, request)
    }
}

impl<S: Clone, K, F: Clone, C: Clone, P: Clone, D: Clone> Clone for KeyedConcurrencyLimit<S, K, F, C, P, D> {
    fn clone(&self) -> Self {
        // The clone of a ready service is not ready.
        Self {
            inner: self.inner.clone(),
            is_ready: false,
            key: self.key.clone(),
            layer: self.layer.clone(),
            handle: self.handle.clone(),
        }
    }
}

impl<S: fmt::Debug, K, F, C, P, D> fmt::Debug for KeyedConcurrencyLimit<S, K, F, C, P, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedConcurrencyLimit").field("inner", &self.inner).finish_non_exhaustive()
    }
}
