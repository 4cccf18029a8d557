//! A service inside a client: it waits for readiness in the call, where the stages can limit the wait.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;

use super::client::Shareable;

/// A service that is always ready, and waits for the readiness of the inner service in its future. Part of a
/// [`Client`](super::Client).
///
/// Without it, the wait for an inner queue or limit would come before every stage, and no timeout would end it. The wait
/// counts as time of the backend, for a timeout and for a breaker. So limit the calls of this process by the stage
/// [`concurrency_limit`](super::StackBuilder::concurrency_limit), and not inside the client. Each call clones the inner
/// service.
///
/// # Clone
///
/// A clone holds a clone of the inner service and shares nothing else.
#[derive(Clone, Copy, Debug)]
pub struct AwaitReady<S> {
    inner: S,
}

impl<S> AwaitReady<S> {
    pub(crate) const fn new(inner: S) -> Self {
        Self { inner }
    }
}

// A clone would do. With the whole bound, the compiler prints the message of a client, and not that of `Clone`.
impl<S: Service<Req> + Shareable, Req> Service<Req> for AwaitReady<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = ReadyCall<S, Req>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> ReadyCall<S, Req> {
        ReadyCall::new(self.inner.clone(), request)
    }
}

/// A call that begins when its service is ready.
///
/// # Cancellation
///
/// Dropping the future drops the inner service, and with it a place that the service has waited for, or the call.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
#[expect(missing_debug_implementations, reason = "neither service nor request need have one")]
pub struct ReadyCall<S: Service<Req>, Req> {
    #[pin]
    phase: Phase<S, S::Future, Req>,
}

#[pin_project(project = PhaseProj)]
enum Phase<S, F, Req> {
    /// `None` only while the call begins.
    Readying(Option<(S, Req)>),
    Running(#[pin] F),
}

impl<S: Service<Req>, Req> ReadyCall<S, Req> {
    pub(super) const fn new(service: S, request: Req) -> Self {
        Self { phase: Phase::Readying(Some((service, request))) }
    }
}

impl<S: Service<Req>, Req> Future for ReadyCall<S, Req> {
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut phase = self.project().phase;
        loop {
            match phase.as_mut().project() {
                // Readying => Readying | Running | Done
                PhaseProj::Readying(waiting) => {
                    let Some((service, _)) = waiting else {
                        unreachable!("a future is not polled after it has completed");
                    };
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        *waiting = None;
                        return Poll::Ready(Err(error));
                    }
                    let (mut service, request) = waiting.take().expect("it was there a moment ago");
                    phase.set(Phase::Running(service.call(request)));
                }
                // Running => Running | Done
                PhaseProj::Running(call) => return call.poll(cx),
            }
        }
    }
}
