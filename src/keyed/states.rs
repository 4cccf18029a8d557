//! The states of a keyed layer: made from one config, under one name, and heard by the same listeners.

use std::{fmt::Display, hash::Hash, sync::Arc};

use super::{KeyedState, Registry};
use crate::{
    rt::{
        descent,
        sync::{Mutex, lock},
    },
    telemetry::{Emitter, EventKind, Listener, Name},
};

/// A state that is made from a config.
pub(crate) trait ConfiguredState: KeyedState {
    /// The numbers. They have been checked.
    type Config: Copy + PartialEq;

    /// Replaces the numbers, without an event.
    fn replace(&self, config: Self::Config);
}

/// One state per key, all of one config.
#[derive(Debug)]
pub(crate) struct States<K, V: ConfiguredState> {
    emitter: Arc<Emitter>,
    config: Mutex<V::Config>,
    max_keys: usize,
    registry: Registry<K, V>,
}

impl<K, V: ConfiguredState> States<K, V> {
    pub(crate) fn new(config: V::Config, emitter: Emitter, max_keys: usize) -> Self {
        let registry = Registry::new(max_keys);
        Self { emitter: Arc::new(emitter), config: Mutex::new(config), max_keys, registry }
    }

    /// The layer's name.
    pub(crate) fn name(&self) -> &Name {
        self.emitter.name()
    }

    pub(crate) fn len(&self) -> usize {
        self.registry.len()
    }

    /// The numbers of new states.
    pub(crate) fn config(&self) -> V::Config {
        *lock(&self.config)
    }

    /// The emitter of a state that calls without room for their key share.
    pub(crate) fn emitter_of_others(&self) -> Emitter {
        self.emitter.of_key(self.name().clone())
    }

    /// Adds a listener of every key, now and later.
    pub(crate) fn listen(&self, listener: impl Listener) {
        self.emitter.add(listener);
    }

    /// Gives the state the numbers in force.
    fn refresh(&self, state: &V) {
        loop {
            let config = self.config();
            state.replace(config);
            // Another update may have replaced both numbers since they were read.
            if self.config() == config {
                return;
            }
        }
    }
}

impl<K: Hash + Eq + Clone, V: ConfiguredState> States<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.registry.get(key)
    }

    pub(crate) fn all(&self) -> Vec<(K, V)> {
        self.registry.all()
    }

    /// Replaces the numbers of every key, and of the states `besides`.
    pub(crate) fn update(&self, config: V::Config, besides: Option<&V>) {
        *lock(&self.config) = config;
        // A call that makes a state meanwhile reads the numbers again once the registry has the state.
        self.all().iter().map(|(_, state)| state).chain(besides).for_each(|state| self.refresh(state));
        self.emitter.emit(EventKind::Reconfigured);
    }
}

impl<K: Hash + Eq + Clone + Display, V: ConfiguredState> States<K, V> {
    /// The state for a call with this key; `None` if there is no room for it. `new` makes the state of a new key.
    pub(crate) fn for_call(&self, key: &K, new: impl FnOnce(V::Config, Emitter) -> V) -> Option<V> {
        let mut made_of = None;
        let make = || {
            let config = *made_of.insert(self.config());
            let name = Name::from(format!("{}:{key}", self.name().as_str()));
            new(config, self.emitter.of_key(name))
        };
        match self.registry.for_call(key, make, descent::now()) {
            Ok(state) => {
                if made_of.is_some_and(|config| config != self.config()) {
                    self.refresh(&state);
                }
                Some(state)
            }
            Err(exhausted) => {
                if exhausted.first {
                    self.emitter.emit(EventKind::KeysExhausted { max_keys: self.max_keys });
                }
                None
            }
        }
    }
}
