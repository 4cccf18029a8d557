//! The keyed service.

use std::{
    fmt::{self, Display},
    hash::Hash,
    task::{Context, Poll},
};

use tower_service::Service;

use super::handle::KeyedRetryHandle;
use crate::{
    call::{Classifier, DeadlineSource, Protocol, Resend},
    keyed::KeySource,
    retry::{
        future::ResponseFuture,
        policy::{OnePolicy, Policies},
        service::Retry,
    },
};

/// A service that retries failed calls, with one budget and one memory per key.
///
/// A call takes a lock for a moment to find the state of its key. Everything else is as in [`Retry`].
///
/// # Clone
///
/// Clones share the states of all keys.
#[derive(Clone)]
pub struct KeyedRetry<S, K, F, P = Protocol, Q = OnePolicy> {
    /// Its handle is that of all keys without room.
    retry: Retry<S, P, Q>,
    /// `None` in the layer of an absent stage.
    key: Option<F>,
    handle: KeyedRetryHandle<K>,
}

impl<S, K, F, P, Q> KeyedRetry<S, K, F, P, Q> {
    pub(super) const fn new(retry: Retry<S, P, Q>, key: Option<F>, handle: KeyedRetryHandle<K>) -> Self {
        Self { retry, key, handle }
    }

    /// The handle of all keys.
    pub fn handle(&self) -> KeyedRetryHandle<K> {
        self.handle.clone()
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        self.retry.get_ref()
    }

    /// The inner service, mutably.
    pub fn get_mut(&mut self) -> &mut S {
        self.retry.get_mut()
    }

    /// Takes the inner service out.
    pub fn into_inner(self) -> S {
        self.retry.into_inner()
    }
}

impl<S, K, F, C, R, D, Q, Req> Service<Req> for KeyedRetry<S, K, F, Protocol<C, R, D>, Q>
where
    S: Service<Req> + Clone,
    K: Hash + Eq + Clone + Display + Send + Sync + 'static,
    F: KeySource<Req, K>,
    C: Classifier<S::Response, S::Error> + Clone,
    R: Resend<Req> + Clone,
    D: DeadlineSource<Req> + Clone,
    Q: Policies<Req> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, Protocol<C, R, D>, Q>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.retry.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let handle = match &self.key {
            Some(key) => self.handle.for_call(&key.key(&request)),
            None => self.handle.others(),
        };
        let origin = self.retry.origin.with_handle(handle);
        self.retry.call_with(request, origin)
    }
}

impl<S: fmt::Debug, K, F, P, Q> fmt::Debug for KeyedRetry<S, K, F, P, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRetry").field("inner", self.get_ref()).finish_non_exhaustive()
    }
}
