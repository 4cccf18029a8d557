//! The service: it keeps a copy of the request, sends the first attempt, and hands the call to the future.

use std::task::{Context, Poll};

use tower_service::Service;

use super::{
    future::{NextAttempt, NoNext, ResponseFuture},
    handle::RetryHandle,
    policy::{OnePolicy, Policies},
};
use crate::{
    call::{Classifier, DeadlineSource, Protocol, Resend},
    rt::descent,
};

/// A service that retries failed calls.
///
/// For each call with more than one attempt it clones the inner service and the request. The clone is made ready when it
/// is needed. A request that cannot be copied is sent once.
///
/// # Clone
///
/// Clones share the numbers, the memory and the budget.
#[derive(Clone, Debug)]
pub struct Retry<S, P = Protocol, Q = OnePolicy> {
    inner: S,
    protocol: P,
    policies: Q,
    handle: RetryHandle,
}

impl<S, P, Q> Retry<S, P, Q> {
    pub(super) fn new(inner: S, protocol: P, policies: Q, handle: RetryHandle) -> Self {
        Self { inner, protocol, policies, handle }
    }

    /// The handle of the layer.
    pub fn handle(&self) -> RetryHandle {
        self.handle.clone()
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutably.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the inner service out.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, C, R, D, Q, Req> Service<Req> for Retry<S, Protocol<C, R, D>, Q>
where
    S: Service<Req> + Clone,
    C: Classifier<S::Response, S::Error> + Clone,
    R: Resend<Req> + Clone,
    D: DeadlineSource<Req> + Clone,
    Q: Policies<Req> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, Protocol<C, R, D>, Q>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        let policy = self.policies.policy(&request);
        let attempts =
            policy.map_or_else(|| self.handle.max_attempts(), |policy| policy.config().max_attempts.into());
        let next = if attempts > 1 {
            NextAttempt::new(self.protocol.resend.copy(&mut request), || self.inner.clone())
        } else {
            Err(NoNext::LastAttempt)
        };
        let mut history = None;
        self.protocol.resend.prepare(&mut request, 1, &mut history);
        let (protocol, policies) = (self.protocol.clone(), self.policies.clone());
        let (handle, started) = (self.handle.clone(), descent::reading());
        ResponseFuture::new(self.inner.call(request), next, started, history, protocol, policies, handle)
    }
}
