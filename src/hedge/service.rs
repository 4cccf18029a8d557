//! The service: keeps a copy, passes the request on, and hands the call to the future.

use std::task::{Context, Poll};

use tower_service::Service;

use super::{
    attempt::Spare,
    class::{CallClass, OneClass},
    future::ResponseFuture,
    handle::{HedgeHandle, MAX_CLASSES},
    state::Progress,
};
use crate::call::{Classifier, Protocol, Resend};

/// A service whose slow calls are sent once more.
///
/// For each call whose request can be copied it clones the service below, as well as the request: the clone is made ready
/// when it is needed. Others pass as if there were no hedge.
///
/// # Clone
///
/// Clones share the budget and what was learnt.
#[derive(Clone, Debug)]
pub struct Hedge<S, P = Protocol, K = OneClass> {
    inner: S,
    protocol: P,
    classes: K,
    handle: HedgeHandle,
}

impl<S, P, K> Hedge<S, P, K> {
    pub(super) fn new(inner: S, protocol: P, classes: K, handle: HedgeHandle) -> Self {
        Self { inner, protocol, classes, handle }
    }

    /// A hold on what it learns.
    pub fn handle(&self) -> HedgeHandle {
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

    fn call(&mut self, mut request: Req) -> Self::Future {
        let resend = &self.protocol.resend;
        let class = u8::try_from(self.classes.class(&request)).unwrap_or(u8::MAX).min(MAX_CLASSES - 1);
        // Whether it may be sent is asked when it would be: of a body that is about to be streamed nobody knows yet.
        let spare = resend.copy(&mut request).map(|request| Spare { service: self.inner.clone(), request });
        let mut history = None;
        resend.prepare(&mut request, 1, &mut history);
        let (protocol, handle) = (self.protocol.clone(), self.handle.clone());
        let primary = self.inner.call(request);
        ResponseFuture::new(primary, spare, history, Progress::new(class), protocol, handle)
    }
}
