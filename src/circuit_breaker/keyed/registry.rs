//! The circuits by key: bounded, and forgetting only those that nobody would miss.

use std::{
    collections::{HashMap, VecDeque},
    fmt::{self, Display},
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    circuit_breaker::{config::CircuitBreakerConfig, handle::CircuitBreakerHandle},
    rt::{
        clock,
        sync::{Mutex, lock},
    },
    telemetry::{EventKind, Listeners, Name},
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
    last_call: Instant,
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
    pub(super) fn for_call(&self, key: &K) -> Option<(CircuitBreakerHandle, InFlight)> {
        let shared = &*self.shared;
        let now = clock::now();
        if let Some(found) = lock(&shared.circuits).find(key, now) {
            return Some(found);
        }
        // Code of the user's, which might ask this handle: not under the lock.
        let (name, key) = (Name::from(format!("{}:{key}", shared.name)), key.clone());

        let mut circuits = lock(&shared.circuits);
        if let Some(found) = circuits.find(&key, now) {
            return Some(found);
        }
        if circuits.by_key.len() >= shared.max_keys
            && !circuits.forget_one(shared.config.forgiven_after(), now)
        {
            let first_time = !std::mem::replace(&mut circuits.exhausted, true);
            drop(circuits);
            if first_time {
                let max_keys = shared.max_keys;
                shared.listeners.emit(&shared.name, EventKind::KeysExhausted { max_keys });
            }
            return None;
        }
        circuits.exhausted = false;
        let entry = Entry {
            handle: CircuitBreakerHandle::new(shared.config, name, shared.listeners.clone()),
            used: false,
            last_call: now,
            in_flight: InFlight::default(),
        };
        let found = entry.found();
        circuits.clock.push_back(key.clone());
        circuits.by_key.insert(key, entry);
        Some(found)
    }
}

impl<K: Hash + Eq + Clone> Circuits<K> {
    fn find(&mut self, key: &K, now: Instant) -> Option<(CircuitBreakerHandle, InFlight)> {
        let entry = self.by_key.get_mut(key)?;
        entry.used = true;
        entry.last_call = now;
        Some(entry.found())
    }

    /// Makes room by forgetting a circuit without calls in flight that was not asked for lately, and that is healthy
    /// or was left alone for so long that nothing is held against its peer any more.
    ///
    /// This is the clock algorithm: a key that was used gets a second chance. It looks into a few circuits only, so
    /// that a storm of new keys cannot make every call look into all of them.
    fn forget_one(&mut self, forgiven_after: Duration, now: Instant) -> bool {
        let mut looks = 0;
        for _ in 0..2 * self.clock.len() {
            let Some(key) = self.clock.pop_front() else { return false };
            let Some(entry) = self.by_key.get_mut(&key) else { continue };
            if !std::mem::take(&mut entry.used) && Arc::strong_count(&entry.in_flight) == 1 {
                looks += 1;
                let forgiven = now.saturating_duration_since(entry.last_call) >= forgiven_after;
                if entry.handle.is_forgettable(forgiven) {
                    self.by_key.remove(&key);
                    return true;
                }
            }
            self.clock.push_back(key);
            if looks == MAX_LOOKS {
                return false;
            }
        }
        false
    }
}

impl Entry {
    fn found(&self) -> (CircuitBreakerHandle, InFlight) {
        (self.handle.clone(), Arc::clone(&self.in_flight))
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
