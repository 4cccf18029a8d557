//! The future of a call through a circuit breaker.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;

use super::admission::Admission;
use crate::call::{Classifier, FromRejected, Outcome, Rejected};

/// The answer of the service below, or a rejection.
///
/// # Cancellation
///
/// Dropping it is safe at any time: a probe's place goes back, and the call counts as the config's `abandoned`
/// says; before the first poll it does not count.
///
/// It does not count yet when it is done where the answer is [`Deferred`](Outcome::Deferred): the response has its place then,
/// and dropping that before its end is what abandons the call.
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
        admission: Admission,
    },
    Rejected(Option<Rejected>),
}

impl<F, C> ResponseFuture<F, C> {
    #[inline]
    pub(super) fn running(inner: F, classifier: C, admission: Admission) -> Self {
        Self { phase: Phase::Running { inner, classifier, admission } }
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
            PhaseProj::Running { inner, classifier, admission } => {
                // Who polls on after the end, against the rules, meets the inner future and is not counted twice.
                if admission.is_settled() {
                    return inner.poll(cx);
                }
                admission.enter();
                let Poll::Ready(result) = inner.poll(cx) else {
                    admission.waiting();
                    return Poll::Pending;
                };
                let outcome = classifier.classify(result.as_ref());
                if matches!(outcome, Outcome::Deferred) {
                    return Poll::Ready(hand_over(classifier, result, admission));
                }
                admission.finish(outcome);
                Poll::Ready(result)
            }
            PhaseProj::Rejected(rejected) => {
                let rejected = rejected.take().expect("a future is not polled after it has completed");
                Poll::Ready(Err(E::from_rejected(rejected)))
            }
        }
    }
}

/// Leaves the call's place with its response. Where nobody takes it, the call is a success.
// Out of line, and the result by value, so that one which is counted at once pays a comparison and stays in registers.
#[cold]
#[inline(never)]
fn hand_over<C, R, E>(classifier: &C, mut result: Result<R, E>, admission: &mut Admission) -> Result<R, E>
where
    C: Classifier<R, E>,
{
    let verdict = admission.hand_over();
    let back = match &mut result {
        Ok(response) => classifier.defer(response, verdict),
        Err(_) => Err(verdict),
    };
    if let Err(verdict) = back {
        verdict.settle(Outcome::Success);
    }
    result
}
