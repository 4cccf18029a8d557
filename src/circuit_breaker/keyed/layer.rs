//! The keyed layer.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use tower_layer::Layer;

use super::{handle::KeyedCircuitBreakerHandle, service::KeyedCircuitBreaker};
use crate::{
    call::{NoDeadline, StandardClassifier},
    circuit_breaker::handle::CircuitSpec,
};

/// Puts a [`KeyedCircuitBreaker`] around a service. Made by
/// [`CircuitBreakerLayer::keyed`](crate::circuit_breaker::CircuitBreakerLayer::keyed).
///
/// It starts no task and no timer, and runs in any runtime or none.
///
/// # Clone
///
/// All services made by this layer and by its clones share the circuits.
#[derive(Clone)]
pub struct KeyedCircuitBreakerLayer<K, F, C = StandardClassifier, D = NoDeadline> {
    spec: CircuitSpec,
    /// `None` in the layer of an absent stage.
    key: Option<F>,
    classifier: C,
    deadlines: D,
    max_keys: usize,
    handle: Arc<OnceLock<KeyedCircuitBreakerHandle<K>>>,
}

impl<K, F, C, D> KeyedCircuitBreakerLayer<K, F, C, D> {
    pub(in crate::circuit_breaker) fn new(
        spec: CircuitSpec,
        key: Option<F>,
        classifier: C,
        deadlines: D,
    ) -> Self {
        Self { spec, key, classifier, deadlines, max_keys: MAX_KEYS, handle: Arc::default() }
    }

    /// Bounds how many keys have a circuit at a time.
    ///
    /// At the bound, a new key takes the place of a circuit that no call and no handle refers to, and that is closed and
    /// healthy: no consecutive failures, and at most a tenth of its window failed or slow. A circuit that was idle for
    /// longer than `max_open_for` and `backoff_decay_every` together is evicted in any state that was not set by hand.
    /// Without such a circuit, calls with a new key pass unprotected, and an event says so. A larger bound costs memory,
    /// about 3 KB for each key.
    ///
    /// At least 1; 0 is taken as 1. Default: 1 000 keys. Services that were made before keep the old circuits.
    #[must_use]
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.max_keys = keys.max(1);
        self.handle = Arc::default();
        self
    }

    /// The handle of the circuits.
    #[must_use]
    pub fn handle(&self) -> KeyedCircuitBreakerHandle<K> {
        self.handle.get_or_init(|| KeyedCircuitBreakerHandle::new(self.spec.clone(), self.max_keys)).clone()
    }
}

impl<S, K, F: Clone, C: Clone, D: Clone> Layer<S> for KeyedCircuitBreakerLayer<K, F, C, D> {
    type Service = KeyedCircuitBreaker<S, K, F, C, D>;

    fn layer(&self, inner: S) -> Self::Service {
        let (classifier, deadlines) = (self.classifier.clone(), self.deadlines.clone());
        KeyedCircuitBreaker::new(inner, self.key.clone(), classifier, deadlines, self.handle())
    }
}

impl<K, F, C, D> fmt::Debug for KeyedCircuitBreakerLayer<K, F, C, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuitBreakerLayer")
            .field("spec", &self.spec)
            .field("max_keys", &self.max_keys)
            .finish_non_exhaustive()
    }
}

const MAX_KEYS: usize = 1_000;
