//! The service: keeps a copy, passes the request on, and hands the call to the future.

use std::task::{Context, Poll};

use tower_service::Service;

use super::{
    future::{NoSpare, ResponseFuture, Spare},
    handle::RetryHandle,
    policy::{OnePolicy, Policies, Terms},
};
use crate::call::{Classifier, CloneRequest, DeadlineSource, NoDeadline, Resend, StandardClassifier};

/// A service whose failed calls are tried again.
///
/// For each call that may be tried again it clones the service below, as well as the request: the clone is made ready
/// when it is needed. A request that cannot be copied passes once.
///
/// # Clone
///
/// Clones share the budget and the memory.
#[derive(Clone, Debug)]
pub struct Retry<S, C = StandardClassifier, R = CloneRequest, L = NoDeadline, P = OnePolicy> {
    inner: S,
    terms: Terms<C, R, L, P>,
    handle: RetryHandle,
}

impl<S, C, R, L, P> Retry<S, C, R, L, P> {
    pub(super) fn new(inner: S, terms: Terms<C, R, L, P>, handle: RetryHandle) -> Self {
        Self { inner, terms, handle }
    }

    /// A hold on the memory.
    pub fn handle(&self) -> RetryHandle {
        self.handle.clone()
    }

    /// The service below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service below, mutably.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the service out.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, C, R, L, P, Req> Service<Req> for Retry<S, C, R, L, P>
where
    S: Service<Req> + Clone,
    C: Classifier<S::Response, S::Error> + Clone,
    R: Resend<Req> + Clone,
    L: DeadlineSource<Req> + Clone,
    P: Policies<Req> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, C, R, L, P>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        let policy = self.terms.policies.policy(&request);
        let attempts =
            policy.map_or_else(|| self.handle.max_attempts(), |policy| policy.config().max_attempts.into());
        let spare = if attempts > 1 {
            Spare::new(self.terms.resend.copy(&mut request), || self.inner.clone())
        } else {
            Err(NoSpare::LastAttempt)
        };
        let mut history = None;
        self.terms.resend.prepare(&mut request, 1, &mut history);
        ResponseFuture::new(self.inner.call(request), spare, history, self.terms.clone(), self.handle.clone())
    }
}
