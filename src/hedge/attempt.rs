//! The attempts of a call beyond its first.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tower_service::Service;

use super::handle::Grant;
use crate::call::Outcome;

/// The part of a call that is allocated with its first hedge.
pub(super) struct Hedges<S: Service<Req>, Req> {
    attempts: Vec<Attempt<S, Req>>,
    /// The failure of the first attempt: the call's answer if no hedge does better.
    pub(super) kept: Option<(Answer<S, Req>, Outcome)>,
}

/// The result of a call.
pub(super) type Answer<S, Req> = Result<<S as Service<Req>>::Response, <S as Service<Req>>::Error>;

enum Attempt<S: Service<Req>, Req> {
    /// The service is not ready yet, and the request waits for it.
    Readying(S, Req, Grant),
    Running(Pin<Box<S::Future>>),
    /// The service panicked in `call`.
    Gone,
}

/// The end of a hedge.
pub(super) enum Ended<T, E> {
    Answered(Result<T, E>),
    /// The service failed to become ready, so the hedge was not sent.
    Unready,
}

impl<S: Service<Req>, Req> Hedges<S, Req> {
    pub(super) const fn new() -> Self {
        Self { attempts: Vec::new(), kept: None }
    }

    /// Sends one more hedge as soon as its service is ready.
    pub(super) fn send(&mut self, service: S, request: Req, grant: Grant) {
        self.attempts.push(Attempt::Readying(service, request, grant));
    }

    /// Whether no hedge is on its way.
    pub(super) const fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// How many hedges were sent and have not ended.
    pub(super) fn running(&self) -> usize {
        self.attempts.iter().filter(|attempt| matches!(attempt, Attempt::Running(_))).count()
    }

    /// Polls the hedges from `at` on, until one has ended.
    pub(super) fn poll_from(
        &mut self,
        at: &mut usize,
        cx: &mut Context<'_>,
    ) -> Option<Ended<S::Response, S::Error>> {
        while let Some(attempt) = self.attempts.get_mut(*at) {
            if let Poll::Ready(ended) = attempt.poll(cx) {
                self.attempts.remove(*at);
                return Some(ended);
            }
            *at += 1;
        }
        None
    }
}

impl<S: Service<Req>, Req> Attempt<S, Req> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended<S::Response, S::Error>> {
        if let Self::Readying(service, ..) = self
            && ready!(service.poll_ready(cx)).is_err()
        {
            return Poll::Ready(Ended::Unready);
        }
        if let Self::Readying(..) = self
            && let Self::Readying(mut service, request, grant) = std::mem::replace(self, Self::Gone)
        {
            let future = service.call(request);
            // Only now is it sent. If `call` panics, the withdrawal is refunded.
            grant.spend();
            *self = Self::Running(Box::pin(future));
        }
        match self {
            Self::Running(future) => future.as_mut().poll(cx).map(Ended::Answered),
            Self::Readying(..) | Self::Gone => Poll::Pending,
        }
    }
}
