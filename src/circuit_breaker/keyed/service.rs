//! The keyed service.

use std::{
    fmt::{self, Display},
    hash::Hash,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{future::ResponseFuture, handle::KeyedCircuitBreakerHandle};
use crate::{
    call::{Classifier, DeadlineSource, FromRejected, NoDeadline, StandardClassifier},
    circuit_breaker::{handle::CircuitBreakerHandle, shared::CallGuard},
    keyed::KeySource,
};

/// A service behind one circuit breaker per key.
///
/// The breaker learns the key only with the request, so `poll_ready` waits for the inner service even if a circuit is
/// open.
///
/// # Clone
///
/// Clones share the circuits.
#[derive(Clone)]
pub struct KeyedCircuitBreaker<S, K, F, C = StandardClassifier, D = NoDeadline> {
    inner: S,
    /// `None` in the layer of an absent stage.
    key: Option<F>,
    classifier: C,
    deadlines: D,
    handle: KeyedCircuitBreakerHandle<K>,
}

impl<S, K, F, C, D> KeyedCircuitBreaker<S, K, F, C, D> {
    pub(super) fn new(
        inner: S,
        key: Option<F>,
        classifier: C,
        deadlines: D,
        handle: KeyedCircuitBreakerHandle<K>,
    ) -> Self {
        Self { inner, key, classifier, deadlines, handle }
    }

    /// The handle of the circuits.
    pub fn handle(&self) -> KeyedCircuitBreakerHandle<K> {
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

impl<S, K, F, C, D, Req> Service<Req> for KeyedCircuitBreaker<S, K, F, C, D>
where
    S: Service<Req>,
    S::Error: FromRejected,
    K: Hash + Eq + Clone + Display,
    F: KeySource<Req, K>,
    C: Classifier<S::Response, S::Error> + Clone,
    D: DeadlineSource<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let found = self.key.as_ref().and_then(|key| self.handle.for_call(&key.key(&request)));
        let Some(CircuitBreakerHandle { circuit }) = found else {
            return ResponseFuture::unprotected(self.inner.call(request));
        };
        match circuit.admit() {
            Err(refusal) => ResponseFuture::rejected(circuit.reject(refusal)),
            Ok(permit) => {
                let call = |request| self.inner.call(request);
                let (inner, guard) = CallGuard::call(circuit, permit, &self.deadlines, request, call);
                ResponseFuture::running(inner, self.classifier.clone(), guard)
            }
        }
    }
}

impl<S: fmt::Debug, K, F, C, D> fmt::Debug for KeyedCircuitBreaker<S, K, F, C, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuitBreaker").field("inner", &self.inner).finish_non_exhaustive()
    }
}
