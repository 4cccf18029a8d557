//! The future of a call through a keyed circuit breaker.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project::pin_project;

use super::registry::InFlight;
use crate::{
    call::{Classifier, FromRejected, Outcome, PendingOutcome, Rejected},
    circuit_breaker::{admission::Admission, future::ResponseFuture as OneCircuit},
};

/// The answer of the service below, or a rejection by the circuit of the call's key.
///
/// # Cancellation
///
/// As for a call through [one circuit](OneCircuit). While it lives, or a response that has its place, its key is not
/// forgotten.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, C> {
    #[pin]
    call: Call<F, C>,
}

#[pin_project(project = CallProj)]
#[derive(Debug)]
enum Call<F, C> {
    Protected(#[pin] OneCircuit<F, Keeping<C>>),
    /// There was no room for its key.
    Unprotected(#[pin] F),
}

impl<F, C> ResponseFuture<F, C> {
    pub(super) fn running(inner: F, classifier: C, admission: Admission, key: InFlight) -> Self {
        Self { call: Call::Protected(OneCircuit::running(inner, Keeping { classifier, key }, admission)) }
    }

    pub(super) fn rejected(rejected: Rejected) -> Self {
        Self { call: Call::Protected(OneCircuit::rejected(rejected)) }
    }

    pub(super) fn unprotected(call: F) -> Self {
        Self { call: Call::Unprotected(call) }
    }
}

impl<F, C, R, E> Future for ResponseFuture<F, C>
where
    F: Future<Output = Result<R, E>>,
    C: Classifier<R, E>,
    E: FromRejected,
{
    type Output = Result<R, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().call.project() {
            CallProj::Protected(call) => call.poll(cx),
            CallProj::Unprotected(call) => call.poll(cx),
        }
    }
}

/// A classifier beside which a key is kept from being forgotten, also while somebody else has the verdict.
#[derive(Debug)]
struct Keeping<C> {
    classifier: C,
    key: InFlight,
}

impl<R, E, C: Classifier<R, E>> Classifier<R, E> for Keeping<C> {
    #[inline]
    fn classify(&self, result: Result<&R, &E>) -> Outcome {
        self.classifier.classify(result)
    }

    fn defer(&self, response: &mut R, verdict: PendingOutcome) -> Result<(), PendingOutcome> {
        let key = Arc::clone(&self.key);
        let keeping = PendingOutcome::new(move |outcome| {
            verdict.settle(outcome);
            drop(key);
        });
        self.classifier.defer(response, keeping)
    }
}
