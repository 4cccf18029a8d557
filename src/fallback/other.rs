//! Another service as the source of answers.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;

use super::answer::{Answer, Ended, Source};
use crate::call::{CloneRequest, PriorAttempts, Resend};

/// The answer of another service to a copy of the request. Made by
/// [`FallbackLayer::service`](super::FallbackBuilder::service).
///
/// # Clone
///
/// Clones hold clones of the other service.
#[derive(Clone, Copy, Debug)]
pub struct Other<O, R = CloneRequest> {
    pub(super) service: O,
    pub(super) resend: R,
}

impl<O: Clone, R: Clone> Source for Other<O, R> {}

impl<Req, Res, Err, O, R> Answer<Req, Res, Err> for Other<O, R>
where
    O: Service<Req, Response = Res> + Clone,
    R: Resend<Req> + Clone,
{
    type Kept = Option<Req>;
    type Future = Asking<O, Req>;

    fn keep(&self, request: &mut Req) -> Option<Req> {
        self.resend.copy(request)
    }

    fn answer(self, copy: Option<Req>, ended: Ended<'_, Res, Err>) -> Self::Future {
        let prior = ended.prior;
        let copy = copy.filter(|copy| self.resend.may_resend(copy, prior)).and_then(|mut copy| {
            // Beside an attempt that still runs the copy is whole already, and nothing is taken from that attempt.
            let is_whole = prior == PriorAttempts::Running || self.resend.take_over(&mut copy);
            is_whole.then_some(copy)
        });
        match copy {
            Some(copy) => Asking::Readying { service: self.service, copy: Some(copy) },
            None => Asking::Done,
        }
    }
}

/// Makes the other service ready and calls it. Returns `None` if that fails, or if there is no copy to send.
#[pin_project(project = AskingProj)]
pub(crate) enum Asking<O: Service<Req>, Req> {
    Readying { service: O, copy: Option<Req> },
    Calling(#[pin] O::Future),
    Done,
}

impl<O: Service<Req>, Req> Future for Asking<O, Req> {
    type Output = Option<O::Response>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let next = match self.as_mut().project() {
                // Readying => Calling | Done
                AskingProj::Readying { service, copy } => {
                    match (ready!(service.poll_ready(cx)), copy.take()) {
                        (Ok(()), Some(copy)) => Self::Calling(service.call(copy)),
                        _ => Self::Done,
                    }
                }
                AskingProj::Calling(call) => return call.poll(cx).map(Result::ok),
                AskingProj::Done => return Poll::Ready(None),
            };
            self.set(next);
        }
    }
}
