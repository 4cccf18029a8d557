//! The future of a call with a limited rate.

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
    handle::Tokens,
    waiter::{Progress, Waiter},
};
use crate::{
    call::{FromRejected, Rejected},
    rt::clock::{self, NoRuntime},
};

/// The inner service's answer, or a rejection.
///
/// A call that found too few tokens waits for them, if it may, and then for a clone of the inner service to be ready. The
/// time of the wait begins with `call`. The place in the queue begins with the first poll, so that a future that is never
/// polled holds up no other call.
///
/// # Cancellation
///
/// Dropping the future before it has called the inner service returns the place in the queue or the tokens, which go to
/// the next call. Tokens are spent once the call has reached the inner service, or has waited for it so long that the
/// bucket could be full again, or once [`update`](super::RateLimitHandle::update) has replaced the numbers.
///
/// # Panics
///
/// If it has to wait inside a tokio runtime without `enable_time`. Outside of a runtime, a call that has to wait is
/// rejected with [`NoRuntime`](crate::Reason::NoRuntime).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S: Service<Req>, Req> {
    #[pin]
    phase: Phase<S, Req>,
}

#[pin_project(project = PhaseProj, project_replace = PhaseOwned)]
enum Phase<S: Service<Req>, Req> {
    Queued {
        waiter: Waiter,
        #[pin]
        timer: Option<Sleep>,
        waiting: Waiting<S, Req>,
    },
    Readying {
        waiting: Waiting<S, Req>,
        tokens: Tokens,
    },
    Calling {
        #[pin]
        inner: S::Future,
    },
    Rejected(Rejected),
    Done,
}

/// A call that has not reached the inner service.
struct Waiting<S, Req> {
    service: S,
    request: Req,
}

impl<S: Service<Req>, Req> ResponseFuture<S, Req> {
    #[inline]
    pub(super) fn calling(inner: S::Future) -> Self {
        Self { phase: Phase::Calling { inner } }
    }

    pub(super) fn readying(service: S, request: Req, tokens: Tokens) -> Self {
        Self { phase: Phase::Readying { waiting: Waiting { service, request }, tokens } }
    }

    pub(super) fn queued(service: S, request: Req, waiter: Waiter) -> Self {
        Self { phase: Phase::Queued { waiter, timer: None, waiting: Waiting { service, request } } }
    }

    pub(super) fn rejected(rejected: Rejected) -> Self {
        Self { phase: Phase::Rejected(rejected) }
    }
}

impl<S, Req> Future for ResponseFuture<S, Req>
where
    S: Service<Req>,
    S::Error: FromRejected,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !matches!(self.phase, Phase::Calling { .. })
            && let Err(error) = ready!(self.as_mut().poll_call(cx))
        {
            return Poll::Ready(Err(error));
        }
        let PhaseProj::Calling { inner } = self.project().phase.project() else {
            unreachable!("a future is not polled after it has completed")
        };
        inner.poll(cx)
    }
}

impl<S, Req> ResponseFuture<S, Req>
where
    S: Service<Req>,
    S::Error: FromRejected,
{
    /// Waits until the inner service has been called.
    // Out of line: most calls never wait.
    #[inline(never)]
    fn poll_call(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let mut phase = self.project().phase;
        // Queued => Queued | Readying | Done
        if let PhaseProj::Queued { waiter, timer, .. } = phase.as_mut().project() {
            let ended = ready!(poll_tokens(waiter, timer, cx));
            let PhaseOwned::Queued { waiting, .. } = phase.as_mut().project_replace(Phase::Done) else {
                unreachable!("the call has just waited")
            };
            match ended {
                Ok(tokens) => phase.set(Phase::Readying { waiting, tokens }),
                Err(rejected) => return Poll::Ready(Err(S::Error::from_rejected(rejected))),
            }
        }
        // Readying => Readying | Calling | Done
        if let PhaseProj::Readying { waiting, .. } = phase.as_mut().project() {
            let ready = ready!(waiting.service.poll_ready(cx));
            let PhaseOwned::Readying { mut waiting, tokens } = phase.as_mut().project_replace(Phase::Done)
            else {
                unreachable!("the call has just become ready")
            };
            ready?;
            tokens.spend();
            let inner = waiting.service.call(waiting.request);
            phase.set(Phase::Calling { inner });
            return Poll::Ready(Ok(()));
        }
        // Rejected => Done
        match phase.project_replace(Phase::Done) {
            PhaseOwned::Rejected(rejected) => Poll::Ready(Err(S::Error::from_rejected(rejected))),
            _ => unreachable!("a future is not polled after it has completed"),
        }
    }
}

/// Waits for the tokens, until the call gives up.
fn poll_tokens(
    waiter: &mut Waiter,
    mut timer: Pin<&mut Option<Sleep>>,
    cx: &mut Context<'_>,
) -> Poll<Result<Tokens, Rejected>> {
    loop {
        let until = match waiter.poll(cx) {
            Progress::Ended(ended) => return Poll::Ready(ended),
            Progress::Until(until) => until,
        };
        if let Err(NoRuntime) = ready!(clock::poll_alarm(timer.as_mut(), until, cx)) {
            return Poll::Ready(Err(waiter.without_runtime()));
        }
    }
}

impl<S: Service<Req>, Req> fmt::Debug for ResponseFuture<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
