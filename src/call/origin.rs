//! The spare clone of a service, from which retries and hedges clone the services of further attempts.

use std::{fmt, sync::Arc};

use crate::rt::sync::{Mutex, lock};

/// A clone of the inner service for further attempts, together with the handle of the layer.
///
/// A call that needs no further attempt then clones one reference, and not the inner service with all its references.
/// The lock makes it `Sync` for a service that is only `Send`. Cloning the service runs under the lock, so its `Clone`
/// must not call the service.
pub(crate) struct Origin<S, H> {
    shared: Arc<Inner<S, H>>,
    /// The handle of the key of one call, in a keyed layer.
    of_key: Option<H>,
}

struct Inner<S, H> {
    service: Mutex<S>,
    handle: H,
}

impl<S: Clone, H> Origin<S, H> {
    pub(crate) fn new(service: &S, handle: H) -> Self {
        Self { shared: Arc::new(Inner { service: Mutex::new(service.clone()), handle }), of_key: None }
    }

    /// The service of a further attempt.
    pub(crate) fn service(&self) -> S {
        lock(&self.shared.service).clone()
    }
}

impl<S, H> Origin<S, H> {
    /// The same spare service, with the handle of a key.
    pub(crate) fn with_handle(&self, of_key: H) -> Self {
        Self { shared: Arc::clone(&self.shared), of_key: Some(of_key) }
    }

    #[inline]
    pub(crate) fn handle(&self) -> &H {
        self.of_key.as_ref().unwrap_or(&self.shared.handle)
    }
}

impl<S, H: Clone> Clone for Origin<S, H> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), of_key: self.of_key.clone() }
    }
}

impl<S, H: fmt::Debug> fmt::Debug for Origin<S, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle().fmt(f)
    }
}
