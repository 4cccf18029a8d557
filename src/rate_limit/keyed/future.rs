//! The future of a call through a keyed rate limit.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;

use crate::call::{FromRejected, Rejected};

/// The response of the inner service, or a rejection.
///
/// # Cancellation
///
/// The call has taken its tokens when this future is made, and the inner service has been called. Dropping the future
/// drops the inner call, and returns no token.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F> {
    #[pin]
    phase: Phase<F>,
}

#[pin_project(project = PhaseProj)]
#[derive(Debug)]
enum Phase<F> {
    Calling(#[pin] F),
    /// `None` once the rejection was handed out.
    Rejected(Option<Rejected>),
}

impl<F> ResponseFuture<F> {
    #[inline]
    pub(in crate::rate_limit) fn calling(inner: F) -> Self {
        Self { phase: Phase::Calling(inner) }
    }

    pub(in crate::rate_limit) fn rejected(rejected: Rejected) -> Self {
        Self { phase: Phase::Rejected(Some(rejected)) }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<R, E>>,
    E: FromRejected,
{
    type Output = Result<R, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().phase.project() {
            PhaseProj::Calling(inner) => inner.poll(cx),
            PhaseProj::Rejected(rejected) => {
                let rejected = rejected.take().expect("a future is not polled after it has completed");
                Poll::Ready(Err(E::from_rejected(rejected)))
            }
        }
    }
}
