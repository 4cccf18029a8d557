//! The keyed service.

use std::{
    fmt::{self, Display},
    hash::Hash,
    task::{Context, Poll},
};

use tower_service::Service;

use super::handle::KeyedHedgeHandle;
use crate::{
    call::{Classifier, Protocol, Resend},
    hedge::{
        class::{CallClass, OneClass},
        future::ResponseFuture,
        service::Hedge,
    },
    keyed::KeySource,
};

/// A service that sends a second request while a call is slow, with one budget and the learnt delays per key.
///
/// A call takes a lock for a moment to find the state of its key. Everything else is as in [`Hedge`].
///
/// # Clone
///
/// Clones share the states of all keys.
#[derive(Clone)]
pub struct KeyedHedge<S, K, F, P = Protocol, Q = OneClass> {
    /// Its handle is that of all keys without room.
    hedge: Hedge<S, P, Q>,
    /// `None` in the layer of an absent stage.
    key: Option<F>,
    handle: KeyedHedgeHandle<K>,
}

impl<S, K, F, P, Q> KeyedHedge<S, K, F, P, Q> {
    pub(super) const fn new(hedge: Hedge<S, P, Q>, key: Option<F>, handle: KeyedHedgeHandle<K>) -> Self {
        Self { hedge, key, handle }
    }

    /// The handle of all keys.
    pub fn handle(&self) -> KeyedHedgeHandle<K> {
        self.handle.clone()
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        self.hedge.get_ref()
    }

    /// The inner service, mutably.
    pub fn get_mut(&mut self) -> &mut S {
        self.hedge.get_mut()
    }

    /// Takes the inner service out.
    pub fn into_inner(self) -> S {
        self.hedge.into_inner()
    }
}

impl<S, K, F, C, R, D, Q, Req> Service<Req> for KeyedHedge<S, K, F, Protocol<C, R, D>, Q>
where
    S: Service<Req> + Clone,
    K: Hash + Eq + Clone + Display + Send + Sync + 'static,
    F: KeySource<Req, K>,
    C: Classifier<S::Response, S::Error> + Clone,
    R: Resend<Req> + Clone,
    D: Clone,
    Q: CallClass<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, Protocol<C, R, D>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.hedge.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let handle = match &self.key {
            Some(key) => self.handle.for_call(&key.key(&request)),
            None => self.handle.others(),
        };
        let origin = self.hedge.origin.with_handle(handle);
        self.hedge.call_with(request, origin)
    }
}

impl<S: fmt::Debug, K, F, P, Q> fmt::Debug for KeyedHedge<S, K, F, P, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedHedge").field("inner", self.get_ref()).finish_non_exhaustive()
    }
}
