//! The service.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    future::ResponseFuture,
    handle::BalanceHandle,
    shared::{BalanceShared, EndpointKey},
};
use crate::call::{Classifier, FromRejected, NoRoute, RouteSource, StandardClassifier};

/// One service over many endpoints. Made by [`BalanceBuilder::endpoints`](super::BalanceBuilder::endpoints).
///
/// `poll_ready` is always ready and reserves nothing. The future picks an endpoint with its first poll, clones its
/// service, and calls it once that is ready.
///
/// # Clone
///
/// Clones share the endpoints.
pub struct Balance<K, S, C = StandardClassifier, R = NoRoute> {
    shared: Arc<BalanceShared<K, S>>,
    classifier: C,
    route: R,
}

impl<K, S, C, R> Balance<K, S, C, R> {
    pub(super) const fn new(shared: Arc<BalanceShared<K, S>>, classifier: C, route: R) -> Self {
        Self { shared, classifier, route }
    }

    /// The handle of the endpoints.
    pub fn handle(&self) -> BalanceHandle<K, S> {
        BalanceHandle { shared: Arc::clone(&self.shared) }
    }
}

impl<K, S, C, R, Req> Service<Req> for Balance<K, S, C, R>
where
    K: EndpointKey,
    S: Service<Req> + Clone,
    S::Error: FromRejected,
    C: Classifier<S::Response, S::Error> + Clone,
    R: RouteSource<Req> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<K, S, C, R, Req>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        ResponseFuture::new(Arc::clone(&self.shared), self.classifier.clone(), self.route.clone(), request)
    }
}

impl<K, S, C: Clone, R: Clone> Clone for Balance<K, S, C, R> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared), self.classifier.clone(), self.route.clone())
    }
}

impl<K, S, C, R> fmt::Debug for Balance<K, S, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balance")
            .field("name", self.shared.core.emitter.name())
            .field("endpoints", &self.shared.set.load().endpoints.len())
            .finish_non_exhaustive()
    }
}
