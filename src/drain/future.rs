//! The future of a call that a drain counts.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;

use super::handle::Guard;
use crate::call::{Classifier, FromRejected, Outcome, PendingOutcome, Rejected};

/// The inner service's answer, or a rejection.
///
/// # Cancellation
///
/// Dropping the future drops the inner call and ends the call for the drain. A [`Deferred`](Outcome::Deferred) response
/// ends the call when the response ends or is dropped.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, C> {
    #[pin]
    phase: Phase<F, C>,
}

#[pin_project(project = PhaseProj, project_replace = PhaseOwned)]
enum Phase<F, C> {
    Calling {
        #[pin]
        inner: F,
        // After the inner call, so that a drop ends the call before the drain sees its end.
        guard: Guard,
        classifier: C,
    },
    Rejected(Rejected),
    Done,
}

impl<F, C> ResponseFuture<F, C> {
    #[inline]
    pub(super) const fn calling(inner: F, guard: Guard, classifier: C) -> Self {
        Self { phase: Phase::Calling { inner, guard, classifier } }
    }

    pub(super) const fn rejected(rejected: Rejected) -> Self {
        Self { phase: Phase::Rejected(rejected) }
    }
}

impl<F, C, R, E> Future for ResponseFuture<F, C>
where
    F: Future<Output = Result<R, E>>,
    E: FromRejected,
    C: Classifier<R, E>,
{
    type Output = Result<R, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut phase = self.project().phase;
        let mut result = None;
        // Calling => Calling | Done
        if let PhaseProj::Calling { inner, classifier, .. } = phase.as_mut().project() {
            let answer = ready!(inner.poll(cx));
            // Classified while the phase holds the guard: a panic of the classifier returns it.
            let is_deferred = matches!(&answer, Ok(it) if classifier.classify(Ok(it)) == Outcome::Deferred);
            result = Some((answer, is_deferred));
        }
        match (phase.project_replace(Phase::Done), result) {
            (PhaseOwned::Calling { guard, classifier, .. }, Some((answer, is_deferred))) => {
                Poll::Ready(if is_deferred { defer(&classifier, answer, guard) } else { answer })
            }
            // Rejected => Done
            (PhaseOwned::Rejected(rejected), _) => Poll::Ready(Err(E::from_rejected(rejected))),
            _ => unreachable!("a future is not polled after it has completed"),
        }
    }
}

/// Leaves the guard with the response, until the response ends. If the classifier returns it, the call has ended.
#[cold]
fn defer<C: Classifier<R, E>, R, E>(classifier: &C, mut answer: Result<R, E>, guard: Guard) -> Result<R, E> {
    if let Ok(response) = &mut answer {
        // An error is the pending outcome, whose drop ends the call.
        drop(classifier.defer(response, PendingOutcome::hold(guard)));
    }
    answer
}

impl<F, C> fmt::Debug for ResponseFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
