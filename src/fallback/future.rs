//! The futures of a call with a fallback.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;

use super::{
    cause::Failed,
    handle::{Caught, FallbackHandle},
    mark::Mark,
    source::Source,
};
use crate::call::{AsRejected, Classifier, FromRejected, Rejected};

pub use super::other::Asking;

/// The answer of the service below, or another one.
///
/// The call below is dropped before another answer is sought. What it returned is held meanwhile: if there is no other
/// answer, the caller gets that.
///
/// # Cancellation
///
/// Dropping it drops the call below, or the search for another answer, which then counts as abandoned.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S, Req, A, C, M>
where
    S: Service<Req>,
    A: Source<Req, S::Response, S::Error>,
{
    #[pin]
    phase: Phase<S, Req, A, C, M>,
}

#[pin_project(project = PhaseProj, project_replace = PhaseOwned)]
enum Phase<S, Req, A, C, M>
where
    S: Service<Req>,
    A: Source<Req, S::Response, S::Error>,
{
    Running {
        #[pin]
        inner: S::Future,
        spare: Spare<A, A::Kept, C, M>,
    },
    TurnedAway {
        rejected: Rejected,
        spare: Spare<A, A::Kept, C, M>,
    },
    FallingBack {
        #[pin]
        answer: A::Future,
        result: Result<S::Response, S::Error>,
        caught: Caught,
        mark: M,
    },
    Done,
}

/// What one call needs in case that it fails.
pub(super) struct Spare<A, K, C, M> {
    pub(super) source: A,
    pub(super) kept: K,
    pub(super) classifier: C,
    pub(super) mark: M,
    pub(super) handle: FallbackHandle,
}

impl<S, Req, A, C, M> ResponseFuture<S, Req, A, C, M>
where
    S: Service<Req>,
    A: Source<Req, S::Response, S::Error>,
{
    pub(super) fn running(inner: S::Future, spare: Spare<A, A::Kept, C, M>) -> Self {
        Self { phase: Phase::Running { inner, spare } }
    }

    pub(super) fn turned_away(rejected: Rejected, spare: Spare<A, A::Kept, C, M>) -> Self {
        Self { phase: Phase::TurnedAway { rejected, spare } }
    }
}

impl<S, Req, A, C, M> Future for ResponseFuture<S, Req, A, C, M>
where
    S: Service<Req>,
    S::Error: AsRejected + FromRejected,
    A: Source<Req, S::Response, S::Error>,
    C: Classifier<S::Response, S::Error>,
    M: Mark<S::Response>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut phase = self.project().phase;
        let ended = match phase.as_mut().project() {
            PhaseProj::Running { inner, .. } => Some(ready!(inner.poll(cx))),
            _ => None,
        };
        if !matches!(phase.as_mut().project(), PhaseProj::FallingBack { .. }) {
            // Whatever panics from here on has nothing of the call below to hold up.
            let (result, spare) = match (phase.as_mut().project_replace(Phase::Done), ended) {
                (PhaseOwned::Running { spare, .. }, Some(result)) => (result, spare),
                (PhaseOwned::TurnedAway { rejected, spare }, _) => {
                    (Err(S::Error::from_rejected(rejected)), spare)
                }
                _ => unreachable!("a future is not polled after it has completed"),
            };
            let Some((answer, caught, mark)) = spare.fall_back(&result) else { return Poll::Ready(result) };
            phase.set(Phase::FallingBack { answer, result, caught, mark });
        }
        let answer = match phase.as_mut().project() {
            PhaseProj::FallingBack { answer, .. } => ready!(answer.poll(cx)),
            _ => unreachable!("it has been falling back, or is now"),
        };
        let PhaseOwned::FallingBack { result, caught, mark, .. } = phase.project_replace(Phase::Done) else {
            unreachable!("it is falling back")
        };
        let Some(mut response) = answer else {
            caught.unanswered();
            return Poll::Ready(result);
        };
        mark.mark(&mut response, caught.cause());
        caught.answered();
        Poll::Ready(Ok(response))
    }
}

impl<A, K, C, M> Spare<A, K, C, M> {
    /// Seeks another answer, if this result is one to be answered otherwise.
    fn fall_back<Req, Res, Err>(self, result: &Result<Res, Err>) -> Option<(A::Future, Caught, M)>
    where
        Err: AsRejected,
        A: Source<Req, Res, Err, Kept = K>,
        C: Classifier<Res, Err>,
    {
        let result = result.as_ref();
        let outcome = self.classifier.classify(result);
        let rejected = result.err().and_then(AsRejected::as_rejected);
        if let Some(caught) = self.handle.catch(rejected, outcome) {
            let failed = Failed { result, rejected, outcome, cause: caught.cause() };
            return Some((self.source.answer(self.kept, failed), caught, self.mark));
        }
        if let (Ok(response), true) = (result, outcome.is_success()) {
            self.source.learn(self.kept, response);
        }
        None
    }
}

impl<S, Req, A, C, M> fmt::Debug for ResponseFuture<S, Req, A, C, M>
where
    S: Service<Req>,
    A: Source<Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
