//! The service: asks the circuit, passes on, and hands the call to the future.

use std::{
    fmt,
    task::{Context, Poll, ready},
};

use tower_service::Service;

use super::{
    admission::Admission, future::ResponseFuture, handle::CircuitBreakerHandle, permit::Refusal,
    waiting::Waiting,
};
use crate::call::{Classifier, FromRejected, StandardClassifier};

/// A service behind a circuit breaker.
///
/// `poll_ready` reserves nothing, unless the layer [waits](super::CircuitBreakerLayer::wait_while_open). While the
/// circuit is open it does not wait for the service below: the call is rejected at once. A `call` without a
/// preceding `poll_ready` is admitted and counted like any other, and passes the breach of tower's contract on.
///
/// # Clone
///
/// Clones share the circuit. What a service has reserved by being ready stays with it.
pub struct CircuitBreaker<S, C = StandardClassifier> {
    inner: S,
    classifier: C,
    handle: CircuitBreakerHandle,
    waits: bool,
    /// Set by a `poll_ready` that found the circuit open, and so did not ask the service below.
    turned_away: Option<Refusal>,
    /// The place that a service which waits has got by being ready.
    reserved: Option<Admission>,
    waiting: Option<Waiting>,
}

impl<S, C> CircuitBreaker<S, C> {
    pub(super) fn new(inner: S, classifier: C, handle: CircuitBreakerHandle, waits: bool) -> Self {
        Self { inner, classifier, handle, waits, turned_away: None, reserved: None, waiting: None }
    }

    /// A hold on the circuit.
    pub fn handle(&self) -> CircuitBreakerHandle {
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

    /// The call of a service that waits, which has its place.
    // Were this one way with the calls that have none, the account of every call would have to go through memory, which
    // was a third of what a closed circuit cost.
    #[cold]
    fn call_with_place<Req>(&mut self, request: Req) -> ResponseFuture<S::Future, C>
    where
        S: Service<Req>,
        C: Clone,
    {
        let mut admission = self.reserved.take().expect("the only caller has looked").begin();
        let inner = self.inner.call(request);
        admission.called();
        ResponseFuture::running(inner, self.classifier.clone(), admission)
    }

    /// Waits for a place and keeps it.
    fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A place may be gone: the circuit has opened meanwhile, or nobody has called for too long.
        if self.reserved.as_ref().is_some_and(|place| !place.is_held()) {
            self.reserved = None;
        }
        while self.reserved.is_none() {
            // Listening begins before asking, so that no change falls in between.
            let waiting = self.waiting.get_or_insert_with(|| Waiting::new(&self.handle));
            if let Ok(place) = self.handle.reserve() {
                self.reserved = Some(place);
            } else {
                ready!(waiting.poll_change(&self.handle, cx));
            }
            self.waiting = None;
        }
        Poll::Ready(())
    }
}

impl<S, C, Req> Service<Req> for CircuitBreaker<S, C>
where
    S: Service<Req>,
    S::Error: FromRejected,
    C: Classifier<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.waits {
            ready!(self.poll_reserve(cx));
        } else if self.handle.is_free() {
            self.turned_away = None;
        } else {
            self.turned_away = self.handle.peek();
            if self.turned_away.is_some() {
                return Poll::Ready(Ok(()));
            }
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        if let Some(refusal) = self.turned_away.take() {
            return ResponseFuture::rejected(self.handle.reject(refusal));
        }
        if self.reserved.is_some() {
            return self.call_with_place(request);
        }
        let mut admission = match self.handle.admit() {
            Ok(admission) => admission,
            Err(refusal) => return ResponseFuture::rejected(self.handle.reject(refusal)),
        };
        let inner = self.inner.call(request);
        admission.called();
        ResponseFuture::running(inner, self.classifier.clone(), admission)
    }
}

impl<S: Clone, C: Clone> Clone for CircuitBreaker<S, C> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.classifier.clone(), self.handle.clone(), self.waits)
    }
}

impl<S: fmt::Debug, C> fmt::Debug for CircuitBreaker<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("inner", &self.inner)
            .field("name", self.handle.name())
            .finish_non_exhaustive()
    }
}
