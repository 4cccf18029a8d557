//! The handle of the circuits of a keyed layer.

use std::{
    fmt::{self, Display},
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use crate::{
    circuit_breaker::handle::{CircuitBreakerHandle, CircuitSpec},
    keyed::{KeyedState, Registry},
    rt::descent,
    telemetry::{EventKind, Name},
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
    max_keys: usize,
    circuits: Registry<K, CircuitBreakerHandle>,
}

impl<K> KeyedCircuitBreakerHandle<K> {
    pub(super) fn new(spec: CircuitSpec, max_keys: usize) -> Self {
        Self { shared: Arc::new(KeyedShared { spec, max_keys, circuits: Registry::new(max_keys) }) }
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

    /// The circuit for a call with this key; `None` if there is no room for another circuit.
    pub(super) fn for_call(&self, key: &K) -> Option<CircuitBreakerHandle> {
        let KeyedShared { spec, max_keys, circuits } = &*self.shared;
        let name = || Name::from(format!("{}:{key}", spec.emitter.name().as_str()));
        let new = || spec.new_circuit(spec.emitter.joined(name(), &[]));
        let found = circuits.for_call(key, new, descent::now());
        if let Err(exhausted) = &found
            && exhausted.first
        {
            spec.emitter.emit(EventKind::KeysExhausted { max_keys: *max_keys });
        }
        found.ok()
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
            .field("name", self.shared.spec.emitter.name())
            .field("keys", &self.len())
            .finish()
    }
}
