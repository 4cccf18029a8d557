//! The future of a guarded call.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;

use super::handle::PanicGuardHandle;
use crate::call::{FromRejected, Rejected};

/// The inner service's answer, or a rejection after a panic.
///
/// A call that panics is dropped before the rejection is returned.
///
/// # Cancellation
///
/// Dropping the future drops the inner call. A panic of that drop is not caught.
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
        handle: PanicGuardHandle,
    },
    Rejected(Rejected),
    Done,
}

impl<F> ResponseFuture<F> {
    #[inline]
    pub(super) const fn running(inner: F, handle: PanicGuardHandle) -> Self {
        Self { phase: Phase::Running { inner, handle } }
    }

    pub(super) const fn rejected(rejected: Rejected) -> Self {
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
        // Running => Running | (returned) | Rejected
        if let PhaseProj::Running { inner, handle } = phase.as_mut().project() {
            let handle = &*handle;
            match handle.guard(|| inner.poll(cx)) {
                Ok(answer) => return Poll::Ready(ready!(answer)),
                Err(rejected) => {
                    // The drop of a call that has panicked may panic too.
                    let handle = handle.clone();
                    let _ = handle.guard(|| phase.set(Phase::Done));
                    phase.set(Phase::Rejected(rejected));
                }
            }
        }
        // Rejected => Done
        match phase.project_replace(Phase::Done) {
            PhaseOwned::Rejected(rejected) => Poll::Ready(Err(E::from_rejected(rejected))),
            _ => unreachable!("a future is not polled after it has completed"),
        }
    }
}
