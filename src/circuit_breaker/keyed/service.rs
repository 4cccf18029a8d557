//! The keyed service.

use std::{
    fmt::{self, Display},
    hash::Hash,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{future::ResponseFuture, registry::KeyedCircuitBreakerHandle};
use crate::call::{Classifier, FromRejected, StandardClassifier};

/// A service behind one circuit breaker per key.
///
/// The key is known with the request only, so `poll_ready` waits for the service below whatever the circuits say.
///
/// # Clone
///
/// Clones share the circuits.
#[derive(Clone)]
pub struct KeyedCircuitBreaker<S, K, F, C = StandardClassifier> {
    inner: S,
    key: F,
    classifier: C,
    handle: KeyedCircuitBreakerHandle<K>,
}

impl<S, K, F, C> KeyedCircuitBreaker<S, K, F, C> {
    pub(super) fn new(inner: S, key: F, classifier: C, handle: KeyedCircuitBreakerHandle<K>) -> Self {
        Self { inner, key, classifier, handle }
    }

    /// A hold on the circuits.
    pub fn handle(&self) -> KeyedCircuitBreakerHandle<K> {
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

impl<S, K, F, C, Req> Service<Req> for KeyedCircuitBreaker<S, K, F, C>
where
    S: Service<Req>,
    S::Error: FromRejected,
    K: Hash + Eq + Clone + Display,
    F: Fn(&Req) -> K,
    C: Classifier<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let Some((circuit, key)) = self.handle.for_call(&(self.key)(&request)) else {
            return ResponseFuture::unprotected(self.inner.call(request));
        };
        match circuit.admit() {
            Err(refusal) => ResponseFuture::rejected(circuit.reject(refusal)),
            Ok(mut admission) => {
                let inner = self.inner.call(request);
                admission.called();
                ResponseFuture::running(inner, self.classifier.clone(), admission, key)
            }
        }
    }
}

impl<S: fmt::Debug, K, F, C> fmt::Debug for KeyedCircuitBreaker<S, K, F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuitBreaker").field("inner", &self.inner).finish_non_exhaustive()
    }
}
