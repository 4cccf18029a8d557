//! The layer.

use std::sync::Arc;

use tower_layer::Layer;

use super::{config::DrainConfig, handle::DrainHandle, service::Drain};
use crate::{
    call::{ConfigError, UntilResponse},
    telemetry::{Emitter, Listener, Name},
};

/// Puts a [`Drain`] around a service. Made by [`DrainConfig::build`].
///
/// # Clone
///
/// All services made by this layer and by its clones share **one** drain: on twenty axum routes, on every connection.
/// [`isolated`](Self::isolated) gives a layer with a drain of its own.
///
/// # Panics
///
/// Building and calling do not panic.
#[derive(Clone, Debug)]
pub struct DrainLayer<C = UntilResponse> {
    classifier: C,
    handle: DrainHandle,
}

impl DrainConfig {
    /// Checks every number and makes the layer.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule.
    pub fn build(self) -> Result<DrainLayer, ConfigError> {
        self.check()?;
        Ok(DrainLayer::checked(self))
    }
}

impl DrainLayer {
    /// The config has been checked.
    pub(crate) fn checked(config: DrainConfig) -> Self {
        let handle = DrainHandle::new(config, Emitter::new("drain"));
        Self { classifier: UntilResponse, handle }
    }
}

impl<C> DrainLayer<C> {
    /// Counts a call whose response `classifier` [defers](crate::Outcome::Deferred) until the response ends.
    ///
    /// A call otherwise ends with the response, whose body may still be on its way. `http::UntilBodyEnd` waits for the
    /// body. Only responses are classified; an error ends the call at once. Default: [`UntilResponse`].
    pub fn classify<C2>(self, classifier: C2) -> DrainLayer<C2> {
        DrainLayer { classifier, handle: self.handle }
    }

    /// Names the layer in its rejections and events, and gives it a drain of its own. Default: `drain`.
    #[must_use]
    pub fn named(self, name: impl Into<Name>) -> Self {
        self.joined(name.into(), &[])
    }

    /// The same layer with a drain of its own.
    #[must_use]
    pub fn isolated(self) -> Self {
        let name = self.handle.name().clone();
        self.joined(name, &[])
    }

    /// Adds a listener for every [event](super#telemetry), and gives the layer a drain of its own.
    #[must_use]
    pub fn listen(self, listener: impl Listener) -> Self {
        let name = self.handle.name().clone();
        self.joined(name, &[Arc::new(listener)])
    }

    /// The handle of this layer's drain.
    #[must_use]
    pub fn handle(&self) -> DrainHandle {
        self.handle.clone()
    }

    /// The same layer under this name, with these listeners besides its own.
    pub(crate) fn joined(self, name: Name, listeners: &[Arc<dyn Listener>]) -> Self {
        Self { handle: self.handle.joined(name, listeners), ..self }
    }
}

impl<S, C: Clone> Layer<S> for DrainLayer<C> {
    type Service = Drain<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Drain::new(inner, self.classifier.clone(), self.handle())
    }
}
