//! The layer.

use std::sync::Arc;

use tower_layer::Layer;

use super::{handle::PanicGuardHandle, service::PanicGuard};
use crate::telemetry::{Emitter, Listener, Name};

/// Puts a [`PanicGuard`] around a service.
///
/// # Clone
///
/// All services made by this layer and by its clones share one count. [`isolated`](Self::isolated) gives a layer with a
/// count of its own.
///
/// # Panics
///
/// Building and calling do not panic.
#[derive(Clone, Debug)]
pub struct PanicGuardLayer {
    handle: PanicGuardHandle,
}

impl PanicGuardLayer {
    /// A guard with the name `panic_guard`.
    #[must_use]
    pub fn new() -> Self {
        Self { handle: PanicGuardHandle::new(Emitter::new("panic_guard")) }
    }

    /// Names the layer in its rejections and events, and gives it a count of its own. Default: `panic_guard`.
    #[must_use]
    pub fn named(self, name: impl Into<Name>) -> Self {
        self.joined(name.into(), &[])
    }

    /// The same layer with a count of its own.
    #[must_use]
    pub fn isolated(self) -> Self {
        let name = self.handle.name().clone();
        self.joined(name, &[])
    }

    /// Adds a listener for every [event](super#telemetry), and gives the layer a count of its own.
    #[must_use]
    pub fn listen(self, listener: impl Listener) -> Self {
        let name = self.handle.name().clone();
        self.joined(name, &[Arc::new(listener)])
    }

    /// The handle of this layer's count.
    #[must_use]
    pub fn handle(&self) -> PanicGuardHandle {
        self.handle.clone()
    }

    /// The same layer under this name, with these listeners besides its own.
    pub(crate) fn joined(self, name: Name, listeners: &[Arc<dyn Listener>]) -> Self {
        Self { handle: self.handle.joined(name, listeners) }
    }
}

impl Default for PanicGuardLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for PanicGuardLayer {
    type Service = PanicGuard<S>;

    fn layer(&self, inner: S) -> Self::Service {
        PanicGuard::new(inner, self.handle())
    }
}
