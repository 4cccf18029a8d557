//! The keyed layer.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use tower_layer::Layer;

use super::{registry::KeyedCircuitBreakerHandle, service::KeyedCircuitBreaker};
use crate::{
    call::StandardClassifier,
    circuit_breaker::config::CircuitBreakerConfig,
    telemetry::{Listeners, Name},
};

/// Puts a [`KeyedCircuitBreaker`] around a service. Made by
/// [`CircuitBreakerLayer::keyed`](crate::circuit_breaker::CircuitBreakerLayer::keyed).
///
/// # Clone
///
/// All services made by this layer and by its clones share the circuits.
#[derive(Clone)]
pub struct KeyedCircuitBreakerLayer<K, F, C = StandardClassifier> {
    config: CircuitBreakerConfig,
    name: Name,
    listeners: Listeners,
    classifier: C,
    key: F,
    max_keys: usize,
    handle: Arc<OnceLock<KeyedCircuitBreakerHandle<K>>>,
}

impl<K, F, C> KeyedCircuitBreakerLayer<K, F, C> {
    pub(in crate::circuit_breaker) fn new(
        config: CircuitBreakerConfig,
        name: Name,
        listeners: Listeners,
        classifier: C,
        key: F,
    ) -> Self {
        Self { config, name, listeners, classifier, key, max_keys: MAX_KEYS, handle: Arc::default() }
    }

    /// How many keys may have a circuit at a time.
    ///
    /// At least 1; 0 is taken as 1. At the bound, a circuit without calls in flight makes room: one that is closed and
    /// healthy (its last call went well, and at most a tenth of its window did not), or one that nobody has called for
    /// longer than `max_open_for` and `forgive_after` together. Where there is none, calls with a new key pass unprotected, and
    /// an event says so. A layer that is already in use stays as it is; this one then gets circuits of its own.
    /// Default: 1 000.
    #[must_use]
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.max_keys = keys.max(1);
        self.handle = Arc::default();
        self
    }

    /// A hold on the circuits.
    #[must_use]
    pub fn handle(&self) -> KeyedCircuitBreakerHandle<K> {
        let new = || {
            let (name, listeners) = (self.name.clone(), self.listeners.clone());
            KeyedCircuitBreakerHandle::new(self.config, name, listeners, self.max_keys)
        };
        self.handle.get_or_init(new).clone()
    }
}

impl<S, K, F: Clone, C: Clone> Layer<S> for KeyedCircuitBreakerLayer<K, F, C> {
    type Service = KeyedCircuitBreaker<S, K, F, C>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyedCircuitBreaker::new(inner, self.key.clone(), self.classifier.clone(), self.handle())
    }
}

impl<K, F, C> fmt::Debug for KeyedCircuitBreakerLayer<K, F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuitBreakerLayer")
            .field("config", &self.config)
            .field("name", &self.name)
            .field("max_keys", &self.max_keys)
            .finish_non_exhaustive()
    }
}

const MAX_KEYS: usize = 1_000;
