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
    shared::{CallGuard, Circuit, Waiting},
    state::Refusal,
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
    /// The place that a waiting service has reserved by being ready.
    reserved: Option<CallGuard>,
    waiting: Option<Waiting>,
}

impl<S, C, D> CircuitBreaker<S, C, D> {
    pub(super) fn new(inner: S, classifier: C, deadlines: D, circuit: Arc<Circuit>, waits: bool) -> Self {
        let (refusal, reserved, waiting) = (None, None, None);
        Self { inner, classifier, deadlines, circuit, waits, refusal, reserved, waiting }
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

    /// Waits for a place and keeps it. An error is the refusal of a caller that no runtime would wake.
    fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        // A place may be gone: the circuit has opened since, or no call came for too long.
        if self.reserved.as_ref().is_some_and(|place| !place.is_held()) {
            self.reserved = None;
        }
        while self.reserved.is_none() {
            // Listening begins before the question, so that no change falls in between.
            let waiting = self.waiting.get_or_insert_with(|| Waiting::new(&self.circuit));
            match CallGuard::reserve(&self.circuit) {
                Ok(place) => self.reserved = Some(place),
                Err(refusal) => match ready!(waiting.poll_change(&self.circuit, cx)) {
                    Some(()) => {}
                    None => return Poll::Ready(Err(refusal)),
                },
            }
            self.waiting = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Calls the inner service for an admitted call.
    #[inline]
    fn admitted<Req>(&mut self, mut guard: CallGuard, request: Req) -> ResponseFuture<S::Future, C>
    where
        S: Service<Req>,
        C: Clone,
        D: DeadlineSource<Req>,
    {
        guard.of_request(self.deadlines.deadline(&request), self.deadlines.upload(&request));
        let inner = self.inner.call(request);
        guard.called();
        ResponseFuture::running(inner, self.classifier.clone(), guard)
    }

    /// The call of a waiting service, which has its place.
    // Separate from the calls without a place: in one function, the guard of every call has to go through memory, which
    // was a third of the cost of a closed circuit.
    #[cold]
    fn call_with_place<Req>(&mut self, place: CallGuard, request: Req) -> ResponseFuture<S::Future, C>
    where
        S: Service<Req>,
        C: Clone,
        D: DeadlineSource<Req>,
    {
        self.admitted(place.begin(), request)
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
            if let Err(refusal) = ready!(self.poll_reserve(cx)) {
                return Poll::Ready(Err(S::Error::from_rejected(self.circuit.reject(refusal))));
            }
        } else if self.circuit.fast_path.pass().is_none() {
            self.refusal = self.circuit.peek();
            if self.refusal.is_some() {
                return Poll::Ready(Ok(()));
            }
        }
        let ready = self.inner.poll_ready(cx);
        if let Poll::Ready(Err(_)) = ready {
            // This service has ended, and must not keep a place from the others.
            self.reserved = None;
        }
        ready
    }

    fn call(&mut self, request: Req) -> Self::Future {
        if let Some(refusal) = self.refusal.take() {
            return ResponseFuture::rejected(self.circuit.reject(refusal));
        }
        if let Some(place) = self.reserved.take() {
            return self.call_with_place(place, request);
        }
        match CallGuard::admit(&self.circuit) {
            Ok(guard) => self.admitted(guard, request),
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
            .field("name", &self.circuit.name)
            .finish_non_exhaustive()
    }
}
