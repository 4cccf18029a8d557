//! The future of a call through a keyed circuit breaker.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;

use super::registry::InFlight;
use crate::{Classifier, FromRejected, circuit_breaker::future::ResponseFuture as OneCircuit};

/// The answer of the service below, or a rejection by the circuit of the call's key.
///
/// # Cancellation
///
/// As for a call through [one circuit](OneCircuit). While it lives, its key is not forgotten.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, C> {
    #[pin]
    call: Call<F, C>,
    _key: Option<InFlight>,
}

#[pin_project(project = CallProj)]
#[derive(Debug)]
enum Call<F, C> {
    Protected(#[pin] OneCircuit<F, C>),
    /// There was no room for its key.
    Unprotected(#[pin] F),
}

impl<F, C> ResponseFuture<F, C> {
    pub(super) fn protected(call: OneCircuit<F, C>, key: InFlight) -> Self {
        Self { call: Call::Protected(call), _key: Some(key) }
    }

    pub(super) fn unprotected(call: F) -> Self {
        Self { call: Call::Unprotected(call), _key: None }
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
