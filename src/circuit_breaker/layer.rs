//! The layer: a circuit, and what is attached to it.

use std::sync::{Arc, OnceLock};

use tower_layer::Layer;

use super::{
    config::CircuitBreakerConfig, handle::CircuitBreakerHandle, keyed::KeyedCircuitBreakerLayer,
    service::CircuitBreaker,
};
use crate::{
    call::{ConfigError, StandardClassifier},
    telemetry::{Listener, Listeners, Name},
};

/// Puts a [`CircuitBreaker`] around a service.
///
/// Made by [`CircuitBreakerConfig::build`].
///
/// # Clone
///
/// All services made by this layer and by its clones share **one** circuit: on twenty axum routes, on every
/// connection. [`isolated`](Self::isolated) gives a layer with a circuit of its own.
#[derive(Clone, Debug)]
pub struct CircuitBreakerLayer<C = StandardClassifier> {
    config: CircuitBreakerConfig,
    name: Name,
    listeners: Listeners,
    classifier: C,
    waits: bool,
    handle: Arc<OnceLock<CircuitBreakerHandle>>,
}

impl CircuitBreakerConfig {
    /// Checks every number and makes the layer.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule.
    pub fn build(self) -> Result<CircuitBreakerLayer, ConfigError> {
        self.check()?;
        Ok(CircuitBreakerLayer::checked(self))
    }
}

impl CircuitBreakerLayer {
    /// The config has been checked.
    pub(crate) fn checked(config: CircuitBreakerConfig) -> Self {
        Self {
            config,
            name: Name::new("circuit_breaker"),
            listeners: Listeners::default(),
            classifier: StandardClassifier,
            waits: false,
            handle: Arc::default(),
        }
    }
}

impl<C> CircuitBreakerLayer<C> {
    /// Decides by `classifier` what a result means. Default: [`StandardClassifier`].
    pub fn classify<D>(self, classifier: D) -> CircuitBreakerLayer<D> {
        CircuitBreakerLayer {
            config: self.config,
            name: self.name,
            listeners: self.listeners,
            classifier,
            waits: self.waits,
            handle: self.handle,
        }
    }

    /// What rejections and events call it. Default: `circuit_breaker`.
    ///
    /// A layer that is already in use stays as it is; this one then gets a circuit of its own.
    #[must_use]
    pub fn named(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
        self.isolated()
    }

    /// Tells a listener of every transition.
    ///
    /// A layer that is already in use stays as it is; this one then gets a circuit of its own.
    #[must_use]
    pub fn listen(self, listener: impl Listener) -> Self {
        self.listen_shared(Arc::new(listener))
    }

    pub(crate) fn listen_shared(mut self, listener: Arc<dyn Listener>) -> Self {
        self.listeners.add(listener);
        self.isolated()
    }

    /// Waits in `poll_ready` while the circuit is open, and rejects nobody who has been ready.
    ///
    /// This is for use under a balancer, which then prefers other endpoints. A service that is ready holds its
    /// place: a probe's, while the circuit is half-open. In front of a single peer, leave it off: callers are
    /// better told at once. It needs a tokio runtime with time. Default: off.
    #[must_use]
    pub fn wait_while_open(mut self) -> Self {
        self.waits = true;
        self
    }

    /// The same layer with a circuit of its own.
    #[must_use]
    pub fn isolated(mut self) -> Self {
        self.handle = Arc::default();
        self
    }

    /// One circuit per key: per host, per route, per tenant.
    ///
    /// Finding the circuit of a key takes a lock for a moment. [`wait_while_open`](Self::wait_while_open) has no effect
    /// here: the key is known with the request only.
    pub fn keyed<Req, K, F>(self, key: F) -> KeyedCircuitBreakerLayer<K, F, C>
    where
        F: Fn(&Req) -> K,
    {
        KeyedCircuitBreakerLayer::new(self.config, self.name, self.listeners, self.classifier, key)
    }

    /// A hold on the circuit of this layer.
    #[must_use]
    pub fn handle(&self) -> CircuitBreakerHandle {
        let new = || CircuitBreakerHandle::new(self.config, self.name.clone(), self.listeners.clone());
        self.handle.get_or_init(new).clone()
    }
}

impl<S, C: Clone> Layer<S> for CircuitBreakerLayer<C> {
    type Service = CircuitBreaker<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker::new(inner, self.classifier.clone(), self.handle(), self.waits)
    }
}
