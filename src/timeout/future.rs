//! The future of a call with a limit.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;
use tokio::time::Sleep;

use super::{handle::TimeoutHandle, state::Allowance};
use crate::{FromRejected, Rejected, clock};

/// The answer of the service below, or a rejection when the time is over.
///
/// The timer is armed when the service below is found to be waiting for the first time; one that is ready at once
/// costs no timer. At the limit the call below is dropped before the rejection is returned.
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

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut phase = self.project().phase;
        if let PhaseProj::Running { inner, mut timer, allowance, handle } = phase.as_mut().project() {
            if let Poll::Ready(result) = inner.poll(cx) {
                return Poll::Ready(result);
            }
            if timer.is_none() {
                timer.set(Some(clock::alarm(allowance.until)));
            }
            let rang = timer.as_pin_mut().is_some_and(|timer| timer.poll(cx).is_ready());
            // A service below that uses up tokio's cooperative budget keeps the timer from ever ringing.
            if !rang && clock::now() < allowance.until {
                return Poll::Pending;
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
