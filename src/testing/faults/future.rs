//! The future of a call with a fault.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use pin_project::pin_project;
use tokio::time::Sleep;

use crate::{algo::after, rt::clock};

/// Waits for the inner service, and then for the injected latency.
///
/// # Cancellation
///
/// Dropping the future drops the inner call and the timer. The fault stays counted.
///
/// # Panics
///
/// If a latency has to wait outside a tokio runtime with time enabled.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<Fut, Res, Err> {
    #[pin]
    phase: Phase<Fut, Res, Err>,
}

#[pin_project(project = PhaseProj)]
#[derive(Debug)]
enum Phase<Fut, Res, Err> {
    Calling {
        #[pin]
        inner: Fut,
        latency: Duration,
    },
    /// The result is known, and its time has not come. `None` once it was returned.
    Delaying {
        latency: Duration,
        /// `None` before the first poll.
        until: Option<Instant>,
        #[pin]
        timer: Option<Sleep>,
        result: Option<Result<Res, Err>>,
    },
    Hanging,
}

impl<Fut, Res, Err> ResponseFuture<Fut, Res, Err> {
    pub(super) fn calling(inner: Fut, latency: Duration) -> Self {
        Self { phase: Phase::Calling { inner, latency } }
    }

    pub(super) fn failing(result: Result<Res, Err>, latency: Duration) -> Self {
        Self { phase: Phase::Delaying { latency, until: None, timer: None, result: Some(result) } }
    }

    pub(super) fn hanging() -> Self {
        Self { phase: Phase::Hanging }
    }
}

impl<Fut, Res, Err> Future for ResponseFuture<Fut, Res, Err>
where
    Fut: Future<Output = Result<Res, Err>>,
{
    type Output = Result<Res, Err>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut phase = self.project().phase;
        loop {
            match phase.as_mut().project() {
                // Calling => Calling | Delaying
                PhaseProj::Calling { inner, latency } => {
                    let (result, latency) = (Some(ready!(inner.poll(cx))), *latency);
                    phase.set(Phase::Delaying { latency, until: None, timer: None, result });
                }
                // Delaying => Delaying | (returned)
                PhaseProj::Delaying { latency, until, timer, result } => {
                    if !latency.is_zero() {
                        let until = *until.get_or_insert_with(|| after(clock::now(), *latency));
                        ready!(clock::poll_alarm(timer, until, cx)).expect("a latency has a tokio runtime");
                    }
                    let result = result.take();
                    return Poll::Ready(result.expect("a future is not polled after it has completed"));
                }
                PhaseProj::Hanging => return Poll::Pending,
            }
        }
    }
}
