//! The service: it keeps a copy of the request, sends the first attempt, and hands the call to the future.

use std::task::{Context, Poll};

use tower_service::Service;

use super::{
    future::{NoNext, ResponseFuture},
    handle::RetryHandle,
    policy::{OnePolicy, Policies},
};
use crate::{
    call::{Classifier, DeadlineSource, Origin, Protocol, Resend},
    rt::descent,
};

/// A service that retries failed calls.
///
/// For each call with more than one attempt it clones the request. A request that cannot be copied is sent once. A
/// further attempt is made on a clone of the service that the layer was put around. State that all attempts need, such as
/// a connection, belongs behind a reference that clones share.
///
/// # Clone
///
/// Clones share the numbers, the memory and the budget.
#[derive(Clone, Debug)]
pub struct Retry<S, P = Protocol, Q = OnePolicy> {
    inner: S,
    protocol: P,
    policies: Q,
    pub(super) origin: Origin<S, RetryHandle>,
}

impl<S: Clone, P, Q> Retry<S, P, Q> {
    pub(super) fn new(inner: S, protocol: P, policies: Q, handle: RetryHandle) -> Self {
        let origin = Origin::new(&inner, handle);
        Self { inner, protocol, policies, origin }
    }
}

impl<S, P, Q> Retry<S, P, Q> {
    /// The handle of the layer.
    pub fn handle(&self) -> RetryHandle {
        self.origin.handle().clone()
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutably. A change reaches first attempts only, unless clones of the service share it.
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

    fn call(&mut self, request: Req) -> Self::Future {
        self.call_with(request, self.origin.clone())
    }
}

impl<S, C, R, D, Q> Retry<S, Protocol<C, R, D>, Q> {
    /// A call that uses the numbers, the memory and the budget of the handle in `origin`.
    pub(super) fn call_with<Req>(
        &mut self,
        mut request: Req,
        origin: Origin<S, RetryHandle>,
    ) -> ResponseFuture<S, Req, Protocol<C, R, D>, Q>
    where
        S: Service<Req> + Clone,
        C: Clone,
        R: Resend<Req> + Clone,
        D: Clone,
        Q: Policies<Req> + Clone,
    {
        let policy = self.policies.policy(&request);
        let attempts = policy
            .map_or_else(|| origin.handle().max_attempts(), |policy| policy.config().max_attempts.into());
        let next = if attempts > 1 {
            self.protocol.resend.copy(&mut request).ok_or(NoNext::NoCopy)
        } else {
            Err(NoNext::LastAttempt)
        };
        let mut history = None;
        self.protocol.resend.prepare(&mut request, 1, &mut history);
        let (protocol, policies) = (self.protocol.clone(), self.policies.clone());
        let started = descent::reading();
        ResponseFuture::new(self.inner.call(request), next, started, history, protocol, policies, origin)
    }
}
