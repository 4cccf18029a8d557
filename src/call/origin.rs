//! The spare clone of a service, from which retries and hedges clone the services of further attempts.

use std::{fmt, sync::Arc};

use crate::rt::sync::{Mutex, lock};

/// A clone of the inner service for further attempts, together with the handle of the layer.
///
/// A call that needs no further attempt then clones one reference, and not the inner service with all its references.
/// The lock makes it `Sync` for a service that is only `Send`. Cloning the service runs under the lock, so its `Clone` must
/// not call the service.
pub(crate) struct Origin<S, H>(Arc<Inner<S, H>>);

struct Inner<S, H> {
    service: Mutex<S>,
    handle: H,
}

impl<S: Clone, H> Origin<S, H> {
    pub(crate) fn new(service: &S, handle: H) -> Self {
        Self(Arc::new(Inner { service: Mutex::new(service.clone()), handle }))
    }

    /// The service of a further attempt.
    pub(crate) fn service(&self) -> S {
        lock(&self.0.service).clone()
    }
}

impl<S, H> Origin<S, H> {
    pub(crate) fn handle(&self) -> &H {
        &self.0.handle
    }
}

impl<S, H> Clone for Origin<S, H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S, H: fmt::Debug> fmt::Debug for Origin<S, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.handle.fmt(f)
    }
}
