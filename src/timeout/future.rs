//! The future of a call with a limit.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::Sleep;

use super::{handle::TimeoutHandle, state::Allowance};
use crate::{
    algo::after,
    call::{FromRejected, Reason, Rejected, Upload},
    rt::{
        clock::{self, NoRuntime},
        descent::{self, Announced},
    },
};

/// The inner service's answer, or a rejection when the time is over.
///
/// The timer starts when the inner call is found waiting for the first time. A call that is ready at once costs no
/// timer. In a stack, a timeout starts no timer while an inner timeout has an earlier one. At the limit the inner call
/// is dropped before the rejection is returned.
///
/// An answer at the limit is returned. An error up to 20 ms after the limit is not: a transport that knows the
/// deadline ends the call at the same moment, and its error does not say that the time was over.
///
/// # Cancellation
///
/// Dropping the future drops the inner call and the timer. The timeout counts nothing.
///
/// # Panics
///
/// If it has to wait inside a tokio runtime without `enable_time`. Outside of a runtime, a call that has to wait is
/// rejected with [`NoRuntime`](Reason::NoRuntime).
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
        /// Set when the call is found waiting, unless an inner timeout of the stack has announced an earlier timer.
        #[pin]
        timer: Option<Sleep>,
        /// `None` until the call is found waiting.
        waits: Option<Announced>,
        allowance: Allowance,
        /// The upload that the limit waits for.
        upload: Option<Upload>,
        handle: TimeoutHandle,
    },
    /// The timeout is an optional stage that was left out.
    Absent(#[pin] F),
    Rejected(Rejected),
    Done,
}

impl<F> ResponseFuture<F> {
    pub(super) fn running(
        inner: F,
        allowance: Allowance,
        upload: Option<Upload>,
        handle: TimeoutHandle,
    ) -> Self {
        Self { phase: Phase::Running { inner, timer: None, waits: None, allowance, upload, handle } }
    }

    pub(super) fn absent(inner: F) -> Self {
        Self { phase: Phase::Absent(inner) }
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

    // Running => Running | (returned)
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.as_mut().project().phase.project() {
            PhaseProj::Running { inner, waits: None, .. } => match inner.poll(cx) {
                Poll::Ready(result) => Poll::Ready(result),
                Poll::Pending => self.wait(cx),
            },
            PhaseProj::Absent(inner) => inner.poll(cx),
            _ => self.poll_again(cx),
        }
    }
}

// Separate functions, so that an answer at once is not moved through the memory that these use.
impl<F> ResponseFuture<F> {
    /// The call is found waiting for the first time.
    #[inline(never)]
    fn wait<R, E: FromRejected>(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<R, E>> {
        let mut phase = self.project().phase;
        let PhaseProj::Running { timer, waits, allowance, upload, handle, .. } = phase.as_mut().project()
        else {
            unreachable!("the only caller has seen it running")
        };
        *waits = Some(Announced);
        let rejected = ready!(poll_end(timer, allowance, upload.as_ref(), handle, cx));
        // Running => Done
        phase.set(Phase::Done);
        Poll::Ready(Err(E::from_rejected(rejected)))
    }

    /// Polls a call that was found waiting before, or was rejected at its start.
    #[inline(never)]
    fn poll_again<R, E>(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<R, E>>
    where
        F: Future<Output = Result<R, E>>,
        E: FromRejected,
    {
        let mut phase = self.project().phase;
        if let PhaseProj::Running { inner, timer, allowance, upload, handle, .. } = phase.as_mut().project() {
            let rejected = match inner.poll(cx) {
                Poll::Ready(result) if result.is_ok() || !is_at_the_limit(allowance, upload.as_ref()) => {
                    return Poll::Ready(result);
                }
                Poll::Ready(_) => reject(handle, allowance, upload.as_ref()),
                Poll::Pending => ready!(poll_end(timer, allowance, upload.as_ref(), handle, cx)),
            };
            // Running => Rejected, which drops the inner call
            phase.as_mut().project_replace(Phase::Rejected(rejected));
        }
        // Rejected => Done
        match phase.project_replace(Phase::Done) {
            PhaseOwned::Rejected(rejected) => Poll::Ready(Err(E::from_rejected(rejected))),
            PhaseOwned::Running { .. } | PhaseOwned::Absent(_) | PhaseOwned::Done => {
                unreachable!("a future is not polled after it has completed")
            }
        }
    }
}

/// Waits until the time of a call is over. A timer wakes the task then: the call's own, or one that an inner timeout has
/// announced.
fn poll_end(
    mut timer: Pin<&mut Option<Sleep>>,
    allowance: &mut Allowance,
    upload: Option<&Upload>,
    handle: &TimeoutHandle,
    cx: &mut Context<'_>,
) -> Poll<Rejected> {
    if timer.is_none() && descent::wakes_by(allowance.until()) {
        return Poll::Pending;
    }
    loop {
        match clock::poll_timer(timer.as_mut(), allowance.until(), cx) {
            Poll::Pending => {
                descent::announce(allowance.until());
                return Poll::Pending;
            }
            Poll::Ready(Ok(())) if upload.is_some_and(|upload| allowance.extend(upload.last_progress())) => {}
            Poll::Ready(Ok(())) => return Poll::Ready(reject(handle, allowance, upload)),
            Poll::Ready(Err(NoRuntime)) => {
                return Poll::Ready(Rejected::new(handle.name().clone(), Reason::NoRuntime));
            }
        }
    }
}

fn reject(handle: &TimeoutHandle, allowance: &Allowance, upload: Option<&Upload>) -> Rejected {
    handle.reject(allowance.reason(upload.is_some_and(Upload::waits_for_caller)))
}

/// Whether an error found now may come from a transport that knows the deadline too. An error found much later may have
/// occurred in time.
fn is_at_the_limit(allowance: &mut Allowance, upload: Option<&Upload>) -> bool {
    let now = clock::now();
    while now >= allowance.until() {
        if !upload.is_some_and(|upload| allowance.extend(upload.last_progress())) {
            return now <= after(allowance.until(), AT_THE_LIMIT);
        }
    }
    false
}

/// Two timers for the same moment fire within a millisecond, and a busy thread polls their tasks a little later.
const AT_THE_LIMIT: Duration = Duration::from_millis(20);
