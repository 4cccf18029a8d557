//! The future of a call with a fallback.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;

use super::{
    answer::{Answer, Ended},
    handle::Caught,
    layer::FallbackLayer,
    state::prior_attempts,
};
use crate::call::{AsRejected, Classifier};

/// The inner service's response, or the fallback's.
///
/// The future drops the inner call before the fallback starts. It holds the original result meanwhile, and returns that
/// if the fallback has no answer.
///
/// # Cancellation
///
/// Dropping the future drops the inner call, or the call of the other service. A drop while the fallback works counts
/// as [`abandoned`](super::FallbackSnapshot::abandoned).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
#[expect(private_bounds, reason = "the sources of answers are the four of `FallbackBuilder`")]
pub struct ResponseFuture<S, Req, A, C>
where
    S: Service<Req>,
    A: Answer<Req, S::Response, S::Error>,
{
    #[pin]
    phase: Phase<S, Req, A, C>,
}

#[pin_project(project = PhaseProj, project_replace = PhaseOwned)]
enum Phase<S, Req, A, C>
where
    S: Service<Req>,
    A: Answer<Req, S::Response, S::Error>,
{
    Running {
        #[pin]
        inner: S::Future,
        call: Call<A, A::Kept, C>,
    },
    FallingBack {
        #[pin]
        answer: A::Future,
        result: Result<S::Response, S::Error>,
        caught: Caught,
    },
    Done,
}

/// The part of the layer that a call needs at its end, and the kept part of its request.
pub(super) struct Call<A, K, C> {
    pub(super) layer: FallbackLayer<A, C>,
    pub(super) kept: K,
}

#[expect(private_bounds, reason = "the sources of answers are the four of `FallbackBuilder`")]
impl<S, Req, A, C> ResponseFuture<S, Req, A, C>
where
    S: Service<Req>,
    A: Answer<Req, S::Response, S::Error>,
{
    pub(super) fn new(inner: S::Future, call: Call<A, A::Kept, C>) -> Self {
        Self { phase: Phase::Running { inner, call } }
    }
}

impl<S, Req, A, C> Future for ResponseFuture<S, Req, A, C>
where
    S: Service<Req>,
    S::Error: AsRejected,
    A: Answer<Req, S::Response, S::Error>,
    C: Classifier<S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut phase = self.project().phase;
        // Running => FallingBack | Done
        if let PhaseProj::Running { inner, .. } = phase.as_mut().project() {
            let result = ready!(inner.poll(cx));
            // The inner call goes first, so that a panic in the source or the classifier does not keep it.
            let PhaseOwned::Running { call, .. } = phase.as_mut().project_replace(Phase::Done) else {
                unreachable!("the call has just ended")
            };
            let Some((answer, caught)) = call.fall_back(result.as_ref()) else {
                return Poll::Ready(result);
            };
            phase.set(Phase::FallingBack { answer, result, caught });
        }
        // FallingBack => Done
        let PhaseProj::FallingBack { answer, .. } = phase.as_mut().project() else {
            unreachable!("a future is not polled after it has completed")
        };
        let answer = ready!(answer.poll(cx));
        let PhaseOwned::FallingBack { result, caught, .. } = phase.project_replace(Phase::Done) else {
            unreachable!("the fallback has just answered")
        };
        caught.end(answer.is_some());
        Poll::Ready(answer.map_or(result, Ok))
    }
}

impl<A, K, C> Call<A, K, C> {
    /// Asks for another answer if this result gets one. A source of answers learns from a good result.
    fn fall_back<Req, Res, Err>(self, result: Result<&Res, &Err>) -> Option<(A::Future, Caught)>
    where
        Err: AsRejected,
        A: Answer<Req, Res, Err, Kept = K>,
        C: Classifier<Res, Err>,
    {
        let FallbackLayer { source, classifier, handle } = self.layer;
        let outcome = classifier.classify(result);
        let is_rejected = result.is_err_and(|error| error.as_rejected().is_some());
        match handle.catch(is_rejected, outcome) {
            Ok(caught) => {
                let prior = prior_attempts(result.is_ok(), outcome);
                let ended = Ended { result, prior, handle: &caught.handle };
                Some((source.answer(self.kept, ended), caught))
            }
            Err(handle) => {
                if let (Ok(response), true) = (result, outcome.is_success()) {
                    source.learn(self.kept, response, &handle);
                }
                None
            }
        }
    }
}

impl<S, Req, A, C> fmt::Debug for ResponseFuture<S, Req, A, C>
where
    S: Service<Req>,
    A: Answer<Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
