//! The service.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::futures::OwnedNotified;
use tower_service::Service;

use super::{future::ResponseFuture, handle::DrainHandle};
use crate::call::{Classifier, FromRejected, UntilResponse};

/// A service that can be drained. Made by [`DrainLayer`](super::DrainLayer).
///
/// A call is counted in `call`. `poll_ready` reserves nothing. It waits for the inner service, and not longer than until
/// the gate closes: the call is rejected then.
///
/// # Clone
///
/// Clones share the drain.
pub struct Drain<S, C = UntilResponse> {
    inner: S,
    classifier: C,
    handle: DrainHandle,
    /// Set while `poll_ready` waits for the inner service.
    closing: Option<Pin<Box<OwnedNotified>>>,
}

impl<S, C> Drain<S, C> {
    pub(super) const fn new(inner: S, classifier: C, handle: DrainHandle) -> Self {
        Self { inner, classifier, handle, closing: None }
    }

    /// The handle of the drain.
    pub fn handle(&self) -> DrainHandle {
        self.handle.clone()
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutably.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Waits until the gate closes.
    // Cold: the services of a server are ready at once.
    #[cold]
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = &self.handle.shared;
        // Made before the look: it hears of each change from then on.
        let closing =
            self.closing.get_or_insert_with(|| Box::pin(Arc::clone(&shared.changed).notified_owned()));
        if shared.is_closed() || closing.as_mut().poll(cx).is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl<S, C, Req> Service<Req> for Drain<S, C>
where
    S: Service<Req>,
    S::Error: FromRejected,
    C: Classifier<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.handle.shared.is_closed() {
            return Poll::Ready(Ok(()));
        }
        match self.inner.poll_ready(cx) {
            Poll::Pending => self.poll_closed(cx).map(Ok),
            ready @ Poll::Ready(_) => {
                self.closing = None;
                ready
            }
        }
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match self.handle.shared.enter() {
            Ok(guard) => ResponseFuture::calling(self.inner.call(request), guard, self.classifier.clone()),
            Err(rejected) => ResponseFuture::rejected(rejected),
        }
    }
}

impl<S: Clone, C: Clone> Clone for Drain<S, C> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.classifier.clone(), self.handle())
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Drain<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("inner", &self.inner)
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}
