//! The endpoints of one call that were not ready. Only a call that does not find a ready endpoint at once has them.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::futures::OwnedNotified;
use tower_service::Service;

use super::{call_guard::CallGuard, core::Core, set::Endpoint};
use crate::call::Classifier;

pub(super) struct Asked<K, S, E> {
    endpoints: Vec<One<K, S>>,
    /// The error of the last one that failed.
    error: Option<E>,
    /// The endpoints asked since the set has changed.
    tries: u32,
    changed: Pin<Box<OwnedNotified>>,
}

/// An endpoint with the clone that waits, or without one if it failed.
type One<K, S> = (Arc<Endpoint<K, S>>, Option<S>);

impl<K, S, E> Asked<K, S, E> {
    /// Those of the call, which may be the first ones.
    pub(super) fn in_place<'a>(asked: &'a mut Option<Box<Self>>, core: &Core) -> &'a mut Self {
        asked.get_or_insert_with(|| {
            let changed = Box::pin(Arc::clone(&core.changed).notified_owned());
            Box::new(Self { endpoints: Vec::new(), error: None, tries: 0, changed })
        })
    }

    pub(super) fn has(&self, endpoint: &Endpoint<K, S>) -> bool {
        self.endpoints.iter().any(|(it, _)| std::ptr::eq(&raw const **it, endpoint))
    }

    /// Whether one more may be asked.
    pub(super) const fn has_room(&self, max_tries: u32) -> bool {
        self.tries < max_tries
    }

    /// The endpoint has a waker of this task.
    pub(super) fn waits(&mut self, endpoint: &Arc<Endpoint<K, S>>, service: S) {
        self.endpoints.push((Arc::clone(endpoint), Some(service)));
        self.tries += 1;
    }

    pub(super) fn failed(&mut self, endpoint: &Arc<Endpoint<K, S>>, error: E) {
        self.endpoints.push((Arc::clone(endpoint), None));
        self.error = Some(error);
        self.tries += 1;
    }

    /// The first one that is ready by now.
    pub(super) fn poll<Req, C>(
        &mut self,
        classifier: &C,
        cx: &mut Context<'_>,
    ) -> Option<(Arc<Endpoint<K, S>>, S)>
    where
        S: Service<Req, Error = E>,
        C: Classifier<S::Response, E>,
    {
        self.endpoints.retain(|(endpoint, _)| !endpoint.load.is_removed());
        for (endpoint, waiting) in &mut self.endpoints {
            let Some(service) = waiting else { continue };
            match service.poll_ready(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => {
                    endpoint.load.is_ready_again();
                    return waiting.take().map(|service| (Arc::clone(endpoint), service));
                }
                Poll::Ready(Err(error)) => {
                    CallGuard::refused(&endpoint.load, classifier.classify(Err(&error)));
                    (*waiting, self.error) = (None, Some(error));
                }
            }
        }
        None
    }

    /// The task is woken by the next change of the endpoints.
    pub(super) fn register(&mut self, core: &Core, cx: &mut Context<'_>) {
        while self.changed.as_mut().poll(cx).is_ready() {
            self.changed = Box::pin(Arc::clone(&core.changed).notified_owned());
            self.tries = 0;
        }
    }

    /// The set has changed: more endpoints may be asked.
    pub(super) const fn renew(&mut self) {
        self.tries = 0;
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.endpoints.iter().any(|(_, waiting)| waiting.is_some())
    }

    pub(super) const fn take_error(&mut self) -> Option<E> {
        self.error.take()
    }
}
