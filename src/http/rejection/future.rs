//! The future of a call whose rejection becomes an answer.

use std::{
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::Response;
use pin_project::pin_project;

use super::{answer::Answers, jitter::Jitter};
use crate::call::{IntoRejected, Rejected};

/// The inner service's response, or the answer to a rejection.
///
/// # Cancellation
///
/// Dropping it drops the inner call.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, A> {
    #[pin]
    phase: Phase<F>,
    jitter: Jitter,
    answers: PhantomData<fn() -> A>,
}

#[pin_project(project = PhaseProj)]
#[derive(Debug)]
enum Phase<F> {
    Running(#[pin] F),
    Rejected(Rejected),
}

impl<F, A> ResponseFuture<F, A> {
    pub(super) fn running(inner: F, jitter: Jitter) -> Self {
        Self { phase: Phase::Running(inner), jitter, answers: PhantomData }
    }

    pub(super) fn rejected(rejected: Rejected, jitter: Jitter) -> Self {
        Self { phase: Phase::Rejected(rejected), jitter, answers: PhantomData }
    }
}

impl<F, A, B, E> Future for ResponseFuture<F, A>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: IntoRejected,
    A: Answers<B>,
{
    type Output = Result<Response<B>, E::Other>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let jitter = *this.jitter;
        let answer = |rejected| A::answer(&jitter.spread(rejected, A::STEP));
        let result = match this.phase.project() {
            PhaseProj::Running(inner) => ready!(inner.poll(cx)),
            PhaseProj::Rejected(rejected) => return Poll::Ready(Ok(answer(rejected.clone()))),
        };
        Poll::Ready(result.or_else(|error| error.into_rejected().map(answer)))
    }
}
