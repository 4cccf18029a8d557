//! The future of a call with a limit.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::pin_project;
use tokio::{task::coop::has_budget_remaining, time::Sleep};

use super::{handle::TimeoutHandle, state::Allowance};
use crate::{
    algo::after,
    call::{FromRejected, Rejected, Upload},
    rt::{
        clock,
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
/// If it has to wait outside a tokio runtime with time enabled, or if it is moved to another runtime after it has waited.
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
        if !is_over(timer, allowance, upload.as_ref(), cx) {
            return Poll::Pending;
        }
        let rejected = reject(handle, allowance, upload.as_ref());
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
            match inner.poll(cx) {
                Poll::Ready(result) if result.is_ok() || !is_at_the_limit(allowance, upload.as_ref()) => {
                    return Poll::Ready(result);
                }
                Poll::Pending if !is_over(timer, allowance, upload.as_ref(), cx) => return Poll::Pending,
                Poll::Ready(_) | Poll::Pending => {}
            }
            let rejected = reject(handle, allowance, upload.as_ref());
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

/// Whether the time of a waiting call is over. If not, a timer wakes the task at the end: the call's own, or one that an
/// inner timeout has announced.
fn is_over(
    mut timer: Pin<&mut Option<Sleep>>,
    allowance: &mut Allowance,
    upload: Option<&Upload>,
    cx: &mut Context<'_>,
) -> bool {
    if timer.is_none() {
        if descent::wakes_by(allowance.until()) {
            return false;
        }
        timer.set(Some(clock::alarm(allowance.until())));
    }
    let mut timer = timer.as_pin_mut().expect("it has just been set if there was none");
    // An inner service that uses up tokio's cooperative budget on every poll keeps the timer from firing, so the clock is
    // read in that case.
    while timer.as_mut().poll(cx).is_ready() || !has_budget_remaining() && clock::now() >= allowance.until() {
        if !upload.is_some_and(|upload| allowance.extend(upload.last_progress())) {
            return true;
        }
        timer.as_mut().reset(allowance.until().into());
    }
    descent::announce(allowance.until());
    false
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
