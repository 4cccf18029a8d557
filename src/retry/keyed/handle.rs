//! The handle of a keyed retry layer.

use std::{
    fmt::{self, Display},
    hash::Hash,
    sync::Arc,
};

use crate::{
    call::ConfigError,
    keyed::States,
    retry::{
        config::RetryConfig,
        handle::{CircuitCheck, RetryHandle},
        layer::RetrySpec,
        snapshot::RetrySnapshot,
    },
    retry_budget::BudgetsPerKey,
    telemetry::{Listener, Name},
};

/// Reads the counts, the history and the budget of each key of a keyed retry layer.
///
/// # Clone
///
/// Clones share the states of all keys.
pub struct KeyedRetryHandle<K> {
    shared: Arc<KeyedShared<K>>,
}

struct KeyedShared<K> {
    spec: RetrySpec,
    is_open: Option<OpenKeys<K>>,
    /// The retry shares these budgets with an inner hedge.
    budgets: Option<BudgetsPerKey<K>>,
    states: States<K, RetryHandle>,
    others: RetryHandle,
}

/// Whether an inner circuit of this key is open.
pub(super) type OpenKeys<K> = Arc<dyn Fn(&K) -> bool + Send + Sync>;

impl<K> KeyedRetryHandle<K> {
    pub(super) fn new(
        spec: RetrySpec,
        is_open: Option<OpenKeys<K>>,
        budgets: Option<BudgetsPerKey<K>>,
        max_keys: usize,
    ) -> Self {
        let states = States::new(spec.config, spec.emitter.clone(), max_keys);
        let others = spec.new_handle(spec.config, states.emitter_of_others(), &spec.budget(), None);
        Self { shared: Arc::new(KeyedShared { spec, is_open, budgets, states, others }) }
    }

    /// The layer's name. The name of a key's state is `name:key`.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.shared.states.name()
    }

    /// The numbers in force.
    #[must_use]
    pub fn config(&self) -> RetryConfig {
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
    pub fn others(&self) -> RetryHandle {
        self.shared.others.clone()
    }
}

impl<K: Hash + Eq + Clone> KeyedRetryHandle<K> {
    /// The state of a key, if it has one.
    ///
    /// The key is not evicted while the returned handle or a clone of it exists. Drop the handle to make room for other
    /// keys. A key that was evicted has no state until its next call.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<RetryHandle> {
        self.shared.states.get(key)
    }

    /// All states, in no particular order. No key of them is evicted while its handle exists.
    #[must_use]
    pub fn all(&self) -> Vec<(K, RetryHandle)> {
        self.shared.states.all()
    }

    /// The snapshot of every key, in no particular order. At most `max_keys` of them, each taken at its own instant.
    #[must_use]
    pub fn snapshots(&self) -> Vec<(K, RetrySnapshot)> {
        self.all().into_iter().map(|(key, state)| (key, state.snapshot())).collect()
    }

    /// Replaces the numbers of all keys, present and future. Learnt delays, statistics and budgets stay.
    ///
    /// The layer emits one event. A stack does not check the numbers again against those of its other stages.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range; the old numbers then stay in force.
    pub fn update(&self, config: RetryConfig) -> Result<(), ConfigError> {
        config.check()?;
        self.shared.states.update(config, Some(&self.shared.others));
        Ok(())
    }
}

impl<K: Hash + Eq + Clone + Display + Send + Sync + 'static> KeyedRetryHandle<K> {
    /// The state for a call with this key, or the state of all others if there is no room.
    pub(super) fn for_call(&self, key: &K) -> RetryHandle {
        let KeyedShared { spec, is_open, budgets, states, others } = &*self.shared;
        let new = |config, emitter| {
            let circuit = is_open.clone().map(|is_open| {
                let key = key.clone();
                CircuitCheck(Some(Arc::new(move || is_open(&key))))
            });
            let numbers = spec.budget();
            let shared = budgets.as_ref().map(|budgets| budgets.of_key(key, &numbers).withdraw_only());
            let budget = shared.unwrap_or_else(|| numbers.isolated());
            spec.new_handle(config, emitter, &budget, circuit)
        };
        states.for_call(key, new).unwrap_or_else(|| others.clone())
    }
}

impl<K> Clone for KeyedRetryHandle<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> fmt::Debug for KeyedRetryHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRetryHandle").field("name", self.name()).field("keys", &self.len()).finish()
    }
}
