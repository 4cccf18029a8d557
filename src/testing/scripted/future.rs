//! The future of a scripted call.

use std::{
    future::Future,
    panic,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use pin_project::pin_project;
use tokio::time::Sleep;

use super::{
    script::Call,
    step::{Action, Step},
};
use crate::{algo::after, rt::clock};

/// Waits for the delay of a [`Step`] and ends as the step says.
///
/// # Cancellation
///
/// A future that is dropped before its end counts as dropped, and the step is used up.
///
/// # Panics
///
/// If the step is a panic, or if a delay has to wait outside a tokio runtime with time enabled.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<Res, Err> {
    until: Option<Instant>,
    #[pin]
    timer: Option<Sleep>,
    /// `None` once the call has ended.
    action: Option<Action<Res, Err>>,
    call: Call,
}

impl<Res, Err> ResponseFuture<Res, Err> {
    pub(super) fn new(step: Step<Res, Err>, now: Instant, call: Call) -> Self {
        let until = (!step.delay.is_zero()).then(|| after(now, step.delay));
        Self { until, timer: None, action: Some(step.action), call }
    }
}

impl<Res, Err> Future for ResponseFuture<Res, Err> {
    type Output = Result<Res, Err>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(until) = *this.until {
            ready!(clock::poll_alarm(this.timer.as_mut(), until, cx)).expect("a delay has a tokio runtime");
            *this.until = None;
        }
        let end = match this.action.take() {
            Some(Action::Answer(response)) => Ok(response),
            Some(Action::Fail(error)) => Err(error),
            Some(hangs @ (Action::Hang | Action::NotReady)) => {
                *this.action = Some(hangs);
                return Poll::Pending;
            }
            Some(Action::Panic | Action::PanicInCall) => {
                this.call.end();
                panic_quietly();
            }
            None => unreachable!("a future is not polled after it has completed"),
        };
        this.call.end();
        Poll::Ready(end)
    }
}

/// Panics without the message that a panic hook would print into the output of a passing test.
pub(super) fn panic_quietly() -> ! {
    panic::resume_unwind(Box::new("a scripted panic"))
}
