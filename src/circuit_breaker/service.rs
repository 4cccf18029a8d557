//! The service: asks the circuit, calls the inner service, and hands the call to the future.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tower_service::Service;

use super::{
    future::ResponseFuture,
    handle::CircuitBreakerHandle,
    shared::{CallGuard, Circuit, Reservation},
    state::{Permit, Refusal},
};
use crate::call::{Classifier, DeadlineSource, FromRejected, NoDeadline, StandardClassifier};

/// A service behind a circuit breaker.
///
/// `poll_ready` reserves nothing, unless the layer [waits](super::CircuitBreakerLayer::wait_while_open). While the
/// circuit is open, `poll_ready` does not wait for the inner service: the call is rejected at once. An error of the inner
/// `poll_ready` has no vote. A `call` without a preceding `poll_ready` is admitted and counted like any other, and breaks
/// tower's contract for the inner service too.
///
/// # Clone
///
/// Clones share the circuit. A place that a service has reserved by being ready stays with that service.
pub struct CircuitBreaker<S, C = StandardClassifier, D = NoDeadline> {
    inner: S,
    classifier: C,
    deadlines: D,
    circuit: Arc<Circuit>,
    waits: bool,
    /// Set by a `poll_ready` that found the circuit open, and so did not ask the inner service.
    refusal: Option<Refusal>,
    /// Only of a service that waits. Behind a pointer, because each call is made on a clone of the service.
    reservation: Option<Box<Reservation>>,
}

impl<S, C, D> CircuitBreaker<S, C, D> {
    pub(super) fn new(inner: S, classifier: C, deadlines: D, circuit: Arc<Circuit>, waits: bool) -> Self {
        Self { inner, classifier, deadlines, circuit, waits, refusal: None, reservation: None }
    }

    /// The handle of the circuit.
    pub fn handle(&self) -> CircuitBreakerHandle {
        CircuitBreakerHandle { circuit: Arc::clone(&self.circuit) }
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

    /// Calls the inner service for an admitted call.
    #[inline]
    fn admitted<Req>(&mut self, permit: Permit, request: Req) -> ResponseFuture<S::Future, C>
    where
        S: Service<Req>,
        C: Clone,
        D: DeadlineSource<Req>,
    {
        let (circuit, call) = (Arc::clone(&self.circuit), |request| self.inner.call(request));
        let (inner, guard) = CallGuard::call(circuit, permit, &self.deadlines, request, call);
        ResponseFuture::running(inner, self.classifier.clone(), guard)
    }
}

impl<S, C, D, Req> Service<Req> for CircuitBreaker<S, C, D>
where
    S: Service<Req>,
    S::Error: FromRejected,
    C: Classifier<S::Response, S::Error> + Clone,
    D: DeadlineSource<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.refusal = None;
        if self.waits {
            let reservation = self.reservation.get_or_insert_default();
            if let Err(refusal) = ready!(reservation.poll_reserve(&self.circuit, cx)) {
                return Poll::Ready(Err(S::Error::from_rejected(self.circuit.reject(refusal))));
            }
        } else if self.circuit.fast_path.pass().is_none() {
            self.refusal = self.circuit.peek();
            if self.refusal.is_some() {
                return Poll::Ready(Ok(()));
            }
        }
        let ready = self.inner.poll_ready(cx);
        if let (Poll::Ready(Err(_)), Some(reservation)) = (&ready, &mut self.reservation) {
            // This service has ended, and must not keep a place from the others.
            drop(reservation.take());
        }
        ready
    }

    fn call(&mut self, request: Req) -> Self::Future {
        if let Some(refusal) = self.refusal.take() {
            return ResponseFuture::rejected(self.circuit.reject(refusal));
        }
        if let Some(place) = self.reservation.as_mut().and_then(|reservation| reservation.take()) {
            return self.admitted(place.begin(), request);
        }
        match self.circuit.admit() {
            Ok(permit) => self.admitted(permit, request),
            Err(refusal) => ResponseFuture::rejected(self.circuit.reject(refusal)),
        }
    }
}

impl<S: Clone, C: Clone, D: Clone> Clone for CircuitBreaker<S, C, D> {
    fn clone(&self) -> Self {
        let (classifier, deadlines) = (self.classifier.clone(), self.deadlines.clone());
        Self::new(self.inner.clone(), classifier, deadlines, Arc::clone(&self.circuit), self.waits)
    }
}

impl<S: fmt::Debug, C, D> fmt::Debug for CircuitBreaker<S, C, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("inner", &self.inner)
            .field("name", self.circuit.emitter.name())
            .finish_non_exhaustive()
    }
}
