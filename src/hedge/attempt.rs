//! The attempts of a call beyond its first.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tower_service::Service;

use super::handle::Grant;
use crate::call::Outcome;

/// A service that has not been made ready, and a copy of the request.
pub(super) struct Spare<S, Req> {
    pub(super) service: S,
    pub(super) request: Req,
}

/// What a call holds from its first hedge on.
pub(super) struct Hedges<S: Service<Req>, Req> {
    running: Vec<Attempt<S, Req>>,
    /// How the first attempt failed, once it has: the call's answer if no hedge does better.
    pub(super) primary: Option<(Answer<S, Req>, Outcome)>,
}

/// What a call comes to.
pub(super) type Answer<S, Req> = Result<<S as Service<Req>>::Response, <S as Service<Req>>::Error>;

enum Attempt<S: Service<Req>, Req> {
    Readying(Spare<S, Req>, Grant),
    Running(Pin<Box<S::Future>>),
    /// Its service panicked.
    Gone,
}

/// How a hedge ended.
pub(super) enum Ended<T, E> {
    Answered(Result<T, E>),
    /// Its service broke before it was sent.
    Unready,
}

impl<S: Service<Req>, Req> Hedges<S, Req> {
    pub(super) const fn new() -> Self {
        Self { running: Vec::new(), primary: None }
    }

    /// Sends one more as soon as its service is ready.
    pub(super) fn send(&mut self, spare: Spare<S, Req>, grant: Grant) {
        self.running.push(Attempt::Readying(spare, grant));
    }

    /// Whether none is running.
    pub(super) const fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Polls those from `at` on, until one has ended.
    pub(super) fn poll_from(
        &mut self,
        at: &mut usize,
        cx: &mut Context<'_>,
    ) -> Option<Ended<S::Response, S::Error>> {
        while let Some(attempt) = self.running.get_mut(*at) {
            if let Poll::Ready(ended) = attempt.poll(cx) {
                self.running.remove(*at);
                return Some(ended);
            }
            *at += 1;
        }
        None
    }
}

impl<S: Service<Req>, Req> Attempt<S, Req> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended<S::Response, S::Error>> {
        if let Self::Readying(spare, _) = self
            && ready!(spare.service.poll_ready(cx)).is_err()
        {
            return Poll::Ready(Ended::Unready);
        }
        if let Self::Readying(..) = self
            && let Self::Readying(mut spare, grant) = std::mem::replace(self, Self::Gone)
        {
            let future = spare.service.call(spare.request);
            // From here on it has been sent; had `call` panicked, the credit would have gone back.
            grant.spend();
            *self = Self::Running(Box::pin(future));
        }
        match self {
            Self::Running(future) => future.as_mut().poll(cx).map(Ended::Answered),
            Self::Readying(..) | Self::Gone => Poll::Pending,
        }
    }
}
