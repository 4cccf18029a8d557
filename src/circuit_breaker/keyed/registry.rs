//! The circuits by key: bounded, and forgetting only those that nobody would miss.

use std::{
    collections::{HashMap, VecDeque},
    fmt::{self, Display},
    hash::Hash,
    sync::Arc,
};

use crate::{
    EventKind, Name,
    circuit_breaker::{config::CircuitBreakerConfig, handle::CircuitBreakerHandle},
    event::Listeners,
    sync::{Mutex, lock},
};

/// A hold on the circuits of a keyed layer.
///
/// # Clone
///
/// Clones share the circuits.
pub struct KeyedCircuitBreakerHandle<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    config: CircuitBreakerConfig,
    name: Name,
    listeners: Listeners,
    max_keys: usize,
    circuits: Mutex<Circuits<K>>,
}

struct Circuits<K> {
    by_key: HashMap<K, Entry>,
    /// The keys in the order in which they are looked at when one has to go.
    clock: VecDeque<K>,
    /// Whether the listeners know that there is no room.
    exhausted: bool,
}

struct Entry {
    handle: CircuitBreakerHandle,
    /// Asked for since it was last looked at.
    used: bool,
    /// Every call in flight holds a clone.
    in_flight: InFlight,
}

/// Keeps a key from being forgotten.
pub(super) type InFlight = Arc<()>;

impl<K> KeyedCircuitBreakerHandle<K> {
    pub(super) fn new(
        config: CircuitBreakerConfig,
        name: Name,
        listeners: Listeners,
        max_keys: usize,
    ) -> Self {
        let circuits =
            Mutex::new(Circuits { by_key: HashMap::new(), clock: VecDeque::new(), exhausted: false });
        Self { shared: Arc::new(Shared { config, name, listeners, max_keys, circuits }) }
    }

    /// How many keys have a circuit.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.shared.circuits).by_key.len()
    }

    /// Whether no key has a circuit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Hash + Eq + Clone + Display> KeyedCircuitBreakerHandle<K> {
    /// The circuit of a key, if it has one.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<CircuitBreakerHandle> {
        lock(&self.shared.circuits).by_key.get(key).map(|entry| entry.handle.clone())
    }

    /// All circuits, in no particular order.
    #[must_use]
    pub fn all(&self) -> Vec<(K, CircuitBreakerHandle)> {
        let circuits = lock(&self.shared.circuits);
        circuits.by_key.iter().map(|(key, entry)| (key.clone(), entry.handle.clone())).collect()
    }

    /// The circuit of a key, made if need be; `None` where there is no room for another.
    pub(super) fn for_call(&self, key: K) -> Option<(CircuitBreakerHandle, InFlight)> {
        let shared = &*self.shared;
        let mut circuits = lock(&shared.circuits);
        if let Some(entry) = circuits.by_key.get_mut(&key) {
            entry.used = true;
            return Some((entry.handle.clone(), Arc::clone(&entry.in_flight)));
        }
        if circuits.by_key.len() >= shared.max_keys && !circuits.forget_one() {
            let first_time = !std::mem::replace(&mut circuits.exhausted, true);
            drop(circuits);
            if first_time {
                let max_keys = shared.max_keys;
                shared.listeners.emit(&shared.name, EventKind::KeysExhausted { max_keys });
            }
            return None;
        }
        circuits.exhausted = false;
        let name = Name::from(format!("{}:{key}", shared.name));
        let handle = CircuitBreakerHandle::new(shared.config, name, shared.listeners.clone());
        circuits.clock.push_back(key.clone());
        let in_flight = InFlight::default();
        let entry = Entry { handle: handle.clone(), used: false, in_flight: Arc::clone(&in_flight) };
        circuits.by_key.insert(key, entry);
        Some((handle, in_flight))
    }
}

impl<K: Hash + Eq + Clone> Circuits<K> {
    /// Makes room by forgetting a circuit that is healthy, at rest, and was not asked for lately.
    ///
    /// This is the clock algorithm: a key that was used gets a second chance. It looks at a few keys only, so that
    /// a storm of new keys cannot make every call walk through all of them.
    fn forget_one(&mut self) -> bool {
        for _ in 0..(2 * self.clock.len()).min(MAX_LOOKS) {
            let Some(key) = self.clock.pop_front() else {
                return false;
            };
            let Some(entry) = self.by_key.get_mut(&key) else {
                continue;
            };
            let idle = !std::mem::take(&mut entry.used) && Arc::strong_count(&entry.in_flight) == 1;
            if idle && entry.handle.is_healthy() {
                self.by_key.remove(&key);
                return true;
            }
            self.clock.push_back(key);
        }
        false
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
            .field("name", &self.shared.name)
            .field("keys", &self.len())
            .finish()
    }
}

/// Each look takes a lock and reads a window.
const MAX_LOOKS: usize = 32;
