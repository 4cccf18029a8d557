//! The future of a call through a circuit breaker.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;

use super::shared::CallGuard;
use crate::call::{Classifier, FromRejected, Outcome, Rejected};

/// The response of the inner service, or a rejection.
///
/// # Cancellation
///
/// Dropping this future is safe at any time. The place of a probe returns to the circuit. A call that is dropped before
/// its first poll has no vote; afterwards the call is cut, and the config's
/// [`abandoned`](super::CircuitBreakerConfig::abandoned) says how it counts.
///
/// A call whose outcome is [`Deferred`](Outcome::Deferred) is counted when the response ends. A response that is dropped
/// before its end has no vote, unless `abandoned` says that it is a failure.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, C> {
    #[pin]
    phase: Phase<F, C>,
}

#[pin_project(project = PhaseProj)]
#[derive(Debug)]
enum Phase<F, C> {
    Running {
        #[pin]
        inner: F,
        classifier: C,
        guard: CallGuard,
    },
    Rejected(Option<Rejected>),
}

impl<F, C> ResponseFuture<F, C> {
    #[inline]
    pub(super) fn running(inner: F, classifier: C, guard: CallGuard) -> Self {
        Self { phase: Phase::Running { inner, classifier, guard } }
    }

    pub(super) fn rejected(rejected: Rejected) -> Self {
        Self { phase: Phase::Rejected(Some(rejected)) }
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
        match self.project().phase.project() {
            PhaseProj::Running { inner, classifier, guard } => {
                // A caller that polls on after the end, against the rules, meets the inner future. Nothing is counted
                // twice.
                if guard.is_settled() {
                    return inner.poll(cx);
                }
                guard.enter();
                let Poll::Ready(result) = inner.poll(cx) else {
                    guard.waiting();
                    return Poll::Pending;
                };
                let outcome = classifier.classify(result.as_ref());
                if matches!(outcome, Outcome::Deferred) {
                    return Poll::Ready(defer(classifier, result, guard));
                }
                guard.finish(outcome);
                Poll::Ready(result)
            }
            PhaseProj::Rejected(rejected) => {
                let rejected = rejected.take().expect("a future is not polled after it has completed");
                Poll::Ready(Err(E::from_rejected(rejected)))
            }
        }
    }
}

/// Leaves the pending outcome with the response. If the classifier returns it, the call is a success.
// Out of line, and the result by value, so that a call that is counted at once pays a comparison and stays in registers.
#[cold]
#[inline(never)]
fn defer<C, R, E>(classifier: &C, mut result: Result<R, E>, guard: &mut CallGuard) -> Result<R, E>
where
    C: Classifier<R, E>,
{
    let pending = guard.defer();
    let back = match &mut result {
        Ok(response) => classifier.defer(response, pending),
        Err(_) => Err(pending),
    };
    if let Err(pending) = back {
        pending.settle(Outcome::Success);
    }
    result
}
