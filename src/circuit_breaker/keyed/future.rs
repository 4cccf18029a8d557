//! The future of a call through a keyed circuit breaker.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;

use crate::{
    call::{Classifier, FromRejected, Rejected},
    circuit_breaker::{future::ResponseFuture as OneCircuit, shared::CallGuard},
};

/// The response of the inner service, or a rejection by the circuit of the call's key.
///
/// # Cancellation
///
/// As for a call through [one circuit](OneCircuit). The key is not evicted while this future exists, or a response that
/// holds its pending outcome.
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
    Protected(#[pin] OneCircuit<F, C>),
    /// There was no room for its key.
    Unprotected(#[pin] F),
}

impl<F, C> ResponseFuture<F, C> {
    pub(super) fn running(inner: F, classifier: C, guard: CallGuard) -> Self {
        Self { call: Call::Protected(OneCircuit::running(inner, classifier, guard)) }
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
