//! The future of a call with a limited concurrency.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use super::{
    handle::Waiter,
    permit::{CallTimes, Permit},
};
use crate::{
    call::{Classifier, FromRejected, Outcome, PendingOutcome, Rejected},
    rt::clock::{self, NoRuntime},
};

/// The inner service's answer, or a rejection.
///
/// A call that found no free permit waits for one, and then for a clone of the inner service to be ready. The time in the
/// queue begins with `call`.
///
/// # Cancellation
///
/// Dropping the future at any time returns the place in the queue or the permit, which goes to the next call. The
/// permit of a [`Deferred`](Outcome::Deferred) response returns when the response ends or is dropped. An adaptive limit
/// learns from a call that is dropped while it waits for its answer: it would have taken that time at least.
///
/// # Panics
///
/// If it has to wait inside a tokio runtime without `enable_time`. Outside of a runtime, a call that has to wait is
/// rejected with [`NoRuntime`](crate::Reason::NoRuntime).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S: Service<Req>, Req, C> {
    #[pin]
    phase: Phase<S, Req, C>,
}

#[pin_project(project = PhaseProj, project_replace = PhaseOwned)]
enum Phase<S: Service<Req>, Req, C> {
    Queued {
        waiter: Waiter,
        #[pin]
        timer: Option<Sleep>,
        waiting: Waiting<S, Req, C>,
    },
    Readying {
        waiting: Waiting<S, Req, C>,
        permit: Permit,
    },
    Calling {
        #[pin]
        inner: S::Future,
        // After the inner call, so that a drop ends the call before the next call gets the permit. A layer of an absent
        // stage takes none.
        permit: Option<Permit>,
        classifier: C,
    },
    Rejected(Rejected),
    Done,
}

/// A call that has not reached the inner service.
pub(super) struct Waiting<S, Req, C> {
    pub(super) service: S,
    pub(super) request: Req,
    /// Empty unless the limit is adaptive.
    pub(super) times: CallTimes,
    pub(super) classifier: C,
}

impl<S: Service<Req>, Req, C> ResponseFuture<S, Req, C> {
    #[inline]
    pub(super) fn calling(inner: S::Future, permit: Option<Permit>, classifier: C) -> Self {
        Self { phase: Phase::Calling { inner, permit, classifier } }
    }

    pub(super) fn readying(waiting: Waiting<S, Req, C>, permit: Permit) -> Self {
        Self { phase: Phase::Readying { waiting, permit } }
    }

    pub(super) fn queued(waiting: Waiting<S, Req, C>, waiter: Waiter) -> Self {
        Self { phase: Phase::Queued { waiter, timer: None, waiting } }
    }

    pub(super) fn rejected(rejected: Rejected) -> Self {
        Self { phase: Phase::Rejected(rejected) }
    }
}

impl<S, Req, C> Future for ResponseFuture<S, Req, C>
where
    S: Service<Req>,
    S::Error: FromRejected,
    C: Classifier<S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !matches!(self.phase, Phase::Calling { .. })
            && let Err(error) = ready!(self.as_mut().poll_call(cx))
        {
            return Poll::Ready(Err(error));
        }
        let mut phase = self.project().phase;
        let PhaseProj::Calling { inner, permit, classifier } = phase.as_mut().project() else {
            unreachable!("a future is not polled after it has completed")
        };
        let Poll::Ready(result) = inner.poll(cx) else {
            if let Some(permit) = permit {
                permit.wait();
            }
            return Poll::Pending;
        };
        // Classified while the phase holds the permit: a panic of the classifier returns it.
        if let Some(permit) = permit
            && (result.is_ok() || permit.is_measured())
        {
            let outcome = classifier.classify(result.as_ref());
            if permit.is_measured() {
                permit.finish(outcome, result.is_err());
            }
            if outcome == Outcome::Deferred && result.is_ok() {
                return Poll::Ready(defer(phase, result));
            }
        }
        // Calling => Done. The content is dropped in its place: to move it out would copy the whole future.
        phase.set(Phase::Done);
        Poll::Ready(result)
    }
}

impl<S, Req, C> ResponseFuture<S, Req, C>
where
    S: Service<Req>,
    S::Error: FromRejected,
{
    /// Waits until the inner service has been called.
    // Out of line: most calls never wait.
    #[inline(never)]
    fn poll_call(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let mut phase = self.project().phase;
        // Queued => Readying | Done
        if let PhaseProj::Queued { waiter, timer, .. } = phase.as_mut().project() {
            let verdict = ready!(poll_permit(waiter, timer, cx));
            let PhaseOwned::Queued { waiting, .. } = phase.as_mut().project_replace(Phase::Done) else {
                unreachable!("the call has just waited")
            };
            match verdict {
                Ok(permit) => phase.set(Phase::Readying { waiting, permit }),
                Err(rejected) => return Poll::Ready(Err(S::Error::from_rejected(rejected))),
            }
        }
        // Readying => Readying | Calling | Done
        if let PhaseProj::Readying { waiting, .. } = phase.as_mut().project() {
            let ready = ready!(waiting.service.poll_ready(cx));
            let PhaseOwned::Readying { mut waiting, mut permit } =
                phase.as_mut().project_replace(Phase::Done)
            else {
                unreachable!("the call has just become ready")
            };
            ready?;
            if permit.is_chosen() {
                permit.begin(waiting.times);
            }
            let inner = waiting.service.call(waiting.request);
            phase.set(Phase::Calling { inner, permit: Some(permit), classifier: waiting.classifier });
            return Poll::Ready(Ok(()));
        }
        // Rejected => Done
        match phase.project_replace(Phase::Done) {
            PhaseOwned::Rejected(rejected) => Poll::Ready(Err(S::Error::from_rejected(rejected))),
            _ => unreachable!("a future is not polled after it has completed"),
        }
    }
}

/// Waits for a permit until the call gives up.
fn poll_permit(
    waiter: &mut Waiter,
    timer: Pin<&mut Option<Sleep>>,
    cx: &mut Context<'_>,
) -> Poll<Result<Permit, Rejected>> {
    if let Poll::Ready(verdict) = waiter.poll(cx) {
        return Poll::Ready(verdict);
    }
    let expires = match timer.as_ref().as_pin_ref() {
        Some(timer) => timer.deadline().into_std(),
        None => waiter.expires(),
    };
    clock::poll_alarm(timer, expires, cx).map(|waited| match waited {
        Ok(()) => waiter.end(),
        Err(NoRuntime) => Err(waiter.without_runtime()),
    })
}

/// Leaves the permit with the response, until the response ends. If the classifier returns it, the call has ended.
// Out of line: most permits return with the response.
#[inline(never)]
fn defer<S, Req, C>(
    phase: Pin<&mut Phase<S, Req, C>>,
    mut result: Result<S::Response, S::Error>,
) -> Result<S::Response, S::Error>
where
    S: Service<Req>,
    C: Classifier<S::Response, S::Error>,
{
    // Calling => Done
    let owned = phase.project_replace(Phase::Done);
    if let (PhaseOwned::Calling { permit: Some(permit), classifier, .. }, Ok(response)) = (owned, &mut result)
    {
        // An error is the pending outcome, whose drop returns the permit.
        drop(classifier.defer(response, PendingOutcome::hold(permit)));
    }
    result
}

impl<S: Service<Req>, Req, C> fmt::Debug for ResponseFuture<S, Req, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
