//! The handle of a keyed hedge layer.

use std::{
    fmt::{self, Display},
    hash::Hash,
    sync::Arc,
};

use crate::{
    call::ConfigError,
    hedge::{config::HedgeConfig, handle::HedgeHandle, layer::HedgeSpec, snapshot::HedgeSnapshot},
    keyed::States,
    retry_budget::BudgetsPerKey,
    telemetry::{Listener, Name},
};

/// Reads the counts, the delays and the budget of each key of a keyed hedge layer.
///
/// # Clone
///
/// Clones share the states of all keys.
pub struct KeyedHedgeHandle<K> {
    shared: Arc<KeyedShared<K>>,
}

struct KeyedShared<K> {
    spec: HedgeSpec,
    budgets: Option<BudgetsPerKey<K>>,
    states: States<K, HedgeHandle>,
    others: HedgeHandle,
}

impl<K> KeyedHedgeHandle<K> {
    pub(super) fn new(spec: HedgeSpec, budgets: Option<BudgetsPerKey<K>>, max_keys: usize) -> Self {
        let states = States::new(spec.config, spec.emitter.clone(), max_keys);
        let others = HedgeHandle::new(spec.config, states.emitter_of_others(), &spec.budget());
        Self { shared: Arc::new(KeyedShared { spec, budgets, states, others }) }
    }

    /// The layer's name. The name of a key's state is `name:key`.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.shared.states.name()
    }

    /// The numbers in force.
    #[must_use]
    pub fn config(&self) -> HedgeConfig {
        self.shared.states.config()
    }

    /// Adds a listener, which hears the events of the layer and of every key from now on.
    pub fn listen(&self, listener: impl Listener) {
        self.shared.states.listen(listener);
    }

    /// How many keys have a state.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.states.len()
    }

    /// Whether no key has a state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The state that all calls without room for their own key share.
    #[must_use]
    pub fn others(&self) -> HedgeHandle {
        self.shared.others.clone()
    }
}

impl<K: Hash + Eq + Clone> KeyedHedgeHandle<K> {
    /// The state of a key, if it has one.
    ///
    /// The key is not evicted while the returned handle or a clone of it exists. Drop the handle to make room for other
    /// keys. A key that was evicted has no state until its next call.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<HedgeHandle> {
        self.shared.states.get(key)
    }

    /// All states, in no particular order. No key of them is evicted while its handle exists.
    #[must_use]
    pub fn all(&self) -> Vec<(K, HedgeHandle)> {
        self.shared.states.all()
    }

    /// The snapshot of every key, in no particular order. At most `max_keys` of them, each taken at its own instant.
    #[must_use]
    pub fn snapshots(&self) -> Vec<(K, HedgeSnapshot)> {
        self.all().into_iter().map(|(key, state)| (key, state.snapshot())).collect()
    }

    /// Replaces the numbers of all keys, present and future. Learnt delays and budgets stay.
    ///
    /// The layer emits one event. A stack does not check the numbers again against those of its other stages.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range; the old numbers then stay in force.
    pub fn update(&self, config: HedgeConfig) -> Result<(), ConfigError> {
        config.check()?;
        self.shared.states.update(config, Some(&self.shared.others));
        Ok(())
    }
}

impl<K: Hash + Eq + Clone + Display + Send + Sync + 'static> KeyedHedgeHandle<K> {
    /// The state for a call with this key, or the state of all others if there is no room.
    pub(super) fn for_call(&self, key: &K) -> HedgeHandle {
        let KeyedShared { spec, budgets, states, others } = &*self.shared;
        let new = |config, emitter| {
            let numbers = spec.budget();
            let budget = budgets.as_ref().map_or_else(|| numbers.isolated(), |it| it.of_key(key, &numbers));
            HedgeHandle::new(config, emitter, &budget)
        };
        states.for_call(key, new).unwrap_or_else(|| others.clone())
    }
}

impl<K> Clone for KeyedHedgeHandle<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> fmt::Debug for KeyedHedgeHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedHedgeHandle").field("name", self.name()).field("keys", &self.len()).finish()
    }
}
