//! The service: it keeps a copy of the request, sends the first attempt, and hands the call to the future.

use std::task::{Context, Poll};

use tower_service::Service;

use super::{
    class::{CallClass, OneClass},
    future::ResponseFuture,
    handle::{HedgeHandle, MAX_CLASSES},
    state::Call,
};
use crate::call::{Classifier, Origin, Protocol, Resend};

/// A service that sends a second request while a call is slow.
///
/// For each call it copies the request. A request that cannot be copied is sent once. A hedge is sent on a clone of the
/// service that the layer was put around. State that all attempts need, such as a connection, belongs behind a reference
/// that clones share.
///
/// # Clone
///
/// Clones share the numbers, the learnt delays and the budget.
#[derive(Clone, Debug)]
pub struct Hedge<S, P = Protocol, K = OneClass> {
    inner: S,
    is_absent: bool,
    protocol: P,
    classes: K,
    pub(super) origin: Origin<S, HedgeHandle>,
}

impl<S: Clone, P, K> Hedge<S, P, K> {
    pub(super) fn new(inner: S, is_absent: bool, protocol: P, classes: K, handle: HedgeHandle) -> Self {
        let origin = Origin::new(&inner, handle);
        Self { inner, is_absent, protocol, classes, origin }
    }
}

impl<S, P, K> Hedge<S, P, K> {
    /// The handle of the layer.
    pub fn handle(&self) -> HedgeHandle {
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

impl<S, C, R, D, K> Hedge<S, Protocol<C, R, D>, K> {
    /// Calls the inner service. The origin has the handle for this call.
    pub(super) fn call_with<Req>(
        &mut self,
        mut request: Req,
        origin: Origin<S, HedgeHandle>,
    ) -> ResponseFuture<S, Req, Protocol<C, R, D>>
    where
        S: Service<Req>,
        C: Clone,
        R: Resend<Req> + Clone,
        D: Clone,
        K: CallClass<Req>,
    {
        let resend = &self.protocol.resend;
        let class = u8::try_from(self.classes.class(&request)).unwrap_or(u8::MAX).min(MAX_CLASSES - 1);
        // Whether the copy may be sent is asked when it is due: a body that is still to be streamed cannot say now.
        let next = if self.is_absent { None } else { resend.copy(&mut request) };
        let mut history = None;
        if !self.is_absent {
            resend.prepare(&mut request, 1, &mut history);
        }
        let protocol = self.protocol.clone();
        let primary = self.inner.call(request);
        ResponseFuture::new(primary, next, history, Call::new(class), protocol, origin)
    }
}

impl<S, C, R, D, K, Req> Service<Req> for Hedge<S, Protocol<C, R, D>, K>
where
    S: Service<Req> + Clone,
    C: Classifier<S::Response, S::Error> + Clone,
    R: Resend<Req> + Clone,
    D: Clone,
    K: CallClass<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, Protocol<C, R, D>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let origin = self.origin.clone();
        self.call_with(request, origin)
    }
}
