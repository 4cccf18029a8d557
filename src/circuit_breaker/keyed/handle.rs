//! The handle of the circuits of a keyed layer.

use std::{
    fmt::{self, Display},
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use crate::{
    call::ConfigError,
    circuit_breaker::{
        config::CircuitBreakerConfig,
        handle::{CircuitBreakerHandle, CircuitSpec},
        snapshot::CircuitBreakerSnapshot,
    },
    keyed::{KeyedState, States},
    telemetry::{Listener, Name},
};

/// The handle of the circuits of a keyed layer.
///
/// # Clone
///
/// Clones share the circuits.
pub struct KeyedCircuitBreakerHandle<K> {
    shared: Arc<KeyedShared<K>>,
}

struct KeyedShared<K> {
    spec: CircuitSpec,
    circuits: States<K, CircuitBreakerHandle>,
}

impl<K> KeyedCircuitBreakerHandle<K> {
    pub(super) fn new(spec: CircuitSpec, max_keys: usize) -> Self {
        let circuits = States::new(spec.config, spec.emitter.clone(), max_keys);
        Self { shared: Arc::new(KeyedShared { spec, circuits }) }
    }

    /// The layer's name. The name of a key's circuit is `name:key`.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.shared.circuits.name()
    }

    /// The numbers in force.
    #[must_use]
    pub fn config(&self) -> CircuitBreakerConfig {
        self.shared.circuits.config()
    }

    /// Adds a listener, which hears the events of the layer and of every key from now on.
    pub fn listen(&self, listener: impl Listener) {
        self.shared.circuits.listen(listener);
    }

    /// How many keys have a circuit.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.circuits.len()
    }

    /// Whether no key has a circuit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Hash + Eq + Clone + Display> KeyedCircuitBreakerHandle<K> {
    /// The circuit of a key, if it has one.
    ///
    /// The key is not evicted while the returned handle or a clone of it exists. Drop the handle to make room for other
    /// keys. A key that was evicted has no circuit until its next call.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<CircuitBreakerHandle> {
        self.shared.circuits.get(key)
    }

    /// All circuits, in no particular order. No key of them is evicted while its handle exists.
    #[must_use]
    pub fn all(&self) -> Vec<(K, CircuitBreakerHandle)> {
        self.shared.circuits.all()
    }

    /// The snapshot of every circuit, in no particular order. At most `max_keys` of them, each taken at its own instant.
    #[must_use]
    pub fn snapshots(&self) -> Vec<(K, CircuitBreakerSnapshot)> {
        self.all().into_iter().map(|(key, circuit)| (key, circuit.snapshot())).collect()
    }

    /// Replaces the numbers of all circuits, present and future. Each keeps its state, and of its window the newest calls
    /// that fit.
    ///
    /// The layer emits one event. In a stack, the relation of the numbers to other stages is not checked again.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule. The old numbers stay in force then.
    pub fn update(&self, config: CircuitBreakerConfig) -> Result<(), ConfigError> {
        config.check()?;
        self.shared.circuits.update(config, None);
        Ok(())
    }

    /// The circuit for a call with this key; `None` if there is no room for another circuit.
    pub(super) fn for_call(&self, key: &K) -> Option<CircuitBreakerHandle> {
        let KeyedShared { spec, circuits } = &*self.shared;
        circuits.for_call(key, |config, emitter| spec.new_circuit(config, emitter))
    }
}

impl KeyedState for CircuitBreakerHandle {
    fn is_in_use(&self) -> bool {
        // The registry holds one reference; each call in flight and each handle of a user holds another.
        Arc::strong_count(&self.circuit) > 1
    }

    fn is_evictable(&self, idle: Duration) -> bool {
        // Without events, because the registry is locked, and a listener may ask it.
        self.circuit.look(|state, now| {
            let forgiven = idle >= state.config().forgiven_after();
            state.is_evictable(forgiven, now)
        })
    }
}

impl<K> Clone for KeyedCircuitBreakerHandle<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> fmt::Debug for KeyedCircuitBreakerHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuitBreakerHandle")
            .field("name", self.name())
            .field("keys", &self.len())
            .finish()
    }
}
