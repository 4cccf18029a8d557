//! Another service as the source of answers.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;

use super::{
    cause::Failed,
    handle::FallbackHandle,
    source::{Isolate, Source},
};
use crate::call::{CloneRequest, PriorAttempts, Resend};

/// Another service, which gets a copy of the request. Made by
/// [`FallbackLayer::service`](super::FallbackLayer::service).
#[derive(Clone, Copy, Debug)]
pub struct Other<O, P = CloneRequest> {
    service: O,
    resend: P,
}

impl<O, P> Other<O, P> {
    pub(super) const fn new(service: O, resend: P) -> Self {
        Self { service, resend }
    }

    pub(super) fn resend<Q>(self, resend: Q) -> Other<O, Q> {
        Other::new(self.service, resend)
    }
}

impl<Req, Res, Err, O, P> Source<Req, Res, Err> for Other<O, P>
where
    O: Service<Req, Response = Res> + Clone,
    P: Resend<Req> + Clone,
{
    type Kept = Option<Req>;
    type Future = Asking<O, Req>;

    fn keep(&self, request: &mut Req) -> Option<Req> {
        self.resend.copy(request)
    }

    fn answer(self, copy: Option<Req>, failed: Failed<'_, Res, Err>) -> Self::Future {
        let prior = failed.prior_attempts();
        let copy = copy.filter(|copy| self.resend.may_resend(copy, prior)).and_then(|mut copy| {
            let is_whole = prior == PriorAttempts::Running || self.resend.take_over(&mut copy);
            is_whole.then_some(copy)
        });
        match copy {
            Some(copy) => Asking { phase: Phase::Readying { service: self.service, copy: Some(copy) } },
            None => Asking { phase: Phase::Done },
        }
    }
}

impl<O: Clone, P: Clone> Isolate for Other<O, P> {
    fn isolated(&self, _: &FallbackHandle) -> Self {
        self.clone()
    }
}

/// Makes another service ready and calls it. `None` if it fails, or there was nothing to call it with.
///
/// # Cancellation
///
/// Dropping it drops the service, or the call of it.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct Asking<O: Service<Req>, Req> {
    #[pin]
    phase: Phase<O, Req>,
}

#[pin_project(project = PhaseProj)]
enum Phase<O: Service<Req>, Req> {
    Readying { service: O, copy: Option<Req> },
    Calling(#[pin] O::Future),
    Done,
}

impl<O: Service<Req>, Req> Future for Asking<O, Req> {
    type Output = Option<O::Response>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut phase = self.project().phase;
        loop {
            let next = match phase.as_mut().project() {
                PhaseProj::Readying { service, copy } => {
                    match (ready!(service.poll_ready(cx)), copy.take()) {
                        (Ok(()), Some(copy)) => Phase::Calling(service.call(copy)),
                        _ => Phase::Done,
                    }
                }
                PhaseProj::Calling(call) => {
                    let answer = ready!(call.poll(cx)).ok();
                    phase.set(Phase::Done);
                    return Poll::Ready(answer);
                }
                PhaseProj::Done => return Poll::Ready(None),
            };
            phase.set(next);
        }
    }
}

impl<O: Service<Req>, Req> fmt::Debug for Asking<O, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").finish_non_exhaustive()
    }
}
