//! The future of a call with a limit.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::Sleep;

use super::{handle::TimeoutHandle, state::Allowance};
use crate::{
    algo::after,
    call::{FromRejected, Rejected},
    rt::clock,
};

/// The answer of the service below, or a rejection when the time is over.
///
/// The timer is armed when the service below is found to be waiting for the first time; one that is ready at once
/// costs no timer. At the limit the call below is dropped before the rejection is returned. An answer at the limit is an
/// answer. An error within 20 ms of it is not: a transport that knows the deadline too ends the call at the same moment,
/// and its error does not say whose time was over.
///
/// # Cancellation
///
/// Dropping it drops the call below and the timer; nothing is counted.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F> {
    #[pin]
    phase: Phase<F>,
}

#[pin_project(project = PhaseProj, project_replace = PhaseOwned)]
#[derive(Debug)]
enum Phase<F> {
    Running {
        #[pin]
        inner: F,
        #[pin]
        timer: Option<Sleep>,
        allowance: Allowance,
        handle: TimeoutHandle,
    },
    Rejected(Rejected),
    Done,
}

impl<F> ResponseFuture<F> {
    pub(super) fn running(inner: F, allowance: Allowance, handle: TimeoutHandle) -> Self {
        Self { phase: Phase::Running { inner, timer: None, allowance, handle } }
    }

    pub(super) fn rejected(rejected: Rejected) -> Self {
        Self { phase: Phase::Rejected(rejected) }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<R, E>>,
    E: FromRejected,
{
    type Output = Result<R, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let PhaseProj::Running { inner, timer, .. } = self.as_mut().project().phase.project()
            && timer.is_none()
        {
            if let Poll::Ready(result) = inner.poll(cx) {
                return Poll::Ready(result);
            }
            return self.wait(cx);
        }
        self.poll_again(cx)
    }
}

// Functions of their own, so that a result that comes at once does not go through memory for what is done here.
impl<F> ResponseFuture<F> {
    /// The call has been found waiting for the first time.
    #[cold]
    fn wait<R, E: FromRejected>(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<R, E>> {
        let mut phase = self.project().phase;
        let PhaseProj::Running { mut timer, allowance, handle, .. } = phase.as_mut().project() else {
            unreachable!("the only caller has looked")
        };
        timer.set(Some(clock::alarm(allowance.until)));
        if !is_over(timer, *allowance, cx) {
            return Poll::Pending;
        }
        let rejected = handle.reject(allowance.reason);
        phase.set(Phase::Done);
        Poll::Ready(Err(E::from_rejected(rejected)))
    }

    /// The call has been found waiting before, or was rejected from the start.
    #[cold]
    fn poll_again<R, E>(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<R, E>>
    where
        F: Future<Output = Result<R, E>>,
        E: FromRejected,
    {
        let mut phase = self.project().phase;
        if let PhaseProj::Running { inner, timer, allowance, handle } = phase.as_mut().project() {
            let over = is_over(timer, *allowance, cx);
            match inner.poll(cx) {
                Poll::Ready(result) if result.is_ok() || !over || is_long_over(*allowance) => {
                    return Poll::Ready(result);
                }
                Poll::Pending if !over => return Poll::Pending,
                Poll::Ready(_) | Poll::Pending => {}
            }
            let rejected = handle.reject(allowance.reason);
            phase.as_mut().project_replace(Phase::Rejected(rejected));
        }
        match phase.project_replace(Phase::Done) {
            PhaseOwned::Rejected(rejected) => Poll::Ready(Err(E::from_rejected(rejected))),
            PhaseOwned::Running { .. } | PhaseOwned::Done => {
                unreachable!("a future is not polled after it has completed")
            }
        }
    }
}

/// Whether the time is over. A service below that uses up tokio's cooperative budget keeps the timer from ever ringing, so
/// the clock is asked too.
fn is_over(timer: Pin<&mut Option<Sleep>>, allowance: Allowance, cx: &mut Context<'_>) -> bool {
    timer.as_pin_mut().is_some_and(|timer| timer.poll(cx).is_ready()) || clock::now() >= allowance.until
}

/// An error that is found so much later may have come in time.
fn is_long_over(allowance: Allowance) -> bool {
    clock::now() > after(allowance.until, AT_THE_LIMIT)
}

/// Two timers for the same moment ring within a millisecond, and a busy thread looks at them a little later.
const AT_THE_LIMIT: Duration = Duration::from_millis(20);
