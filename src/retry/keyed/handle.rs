//! The handle of a keyed retry layer.

use std::{
    fmt::{self, Display},
    hash::Hash,
    sync::Arc,
};

use crate::{
    keyed::Registry,
    retry::{
        handle::{CircuitCheck, RetryHandle},
        layer::RetrySpec,
    },
    rt::descent,
    telemetry::{EventKind, Name},
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
    max_keys: usize,
    states: Registry<K, RetryHandle>,
    others: RetryHandle,
}

/// Whether an inner circuit of this key is open.
pub(super) type OpenKeys<K> = Arc<dyn Fn(&K) -> bool + Send + Sync>;

impl<K> KeyedRetryHandle<K> {
    pub(super) fn new(
        spec: RetrySpec,
        is_open: Option<OpenKeys<K>>,
        max_keys: usize,
        others: RetryHandle,
    ) -> Self {
        let states = Registry::new(max_keys);
        Self { shared: Arc::new(KeyedShared { spec, is_open, max_keys, states, others }) }
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
}

impl<K: Hash + Eq + Clone + Display + Send + Sync + 'static> KeyedRetryHandle<K> {
    /// The state for a call with this key, or the state of all others if there is no room.
    pub(super) fn for_call(&self, key: &K) -> RetryHandle {
        let KeyedShared { spec, is_open, max_keys, states, others } = &*self.shared;
        let new = || {
            let circuit = is_open.clone().map(|is_open| {
                let key = key.clone();
                CircuitCheck(Some(Arc::new(move || is_open(&key))))
            });
            let name = Name::from(format!("{}:{key}", spec.emitter.name().as_str()));
            spec.new_handle(spec.emitter.joined(name, &[]), &spec.budget().isolated(), circuit)
        };
        states.for_call(key, new, descent::now()).unwrap_or_else(|exhausted| {
            if exhausted.first {
                spec.emitter.emit(EventKind::KeysExhausted { max_keys: *max_keys });
            }
            others.clone()
        })
    }
}

impl<K> Clone for KeyedRetryHandle<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> fmt::Debug for KeyedRetryHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRetryHandle")
            .field("name", self.shared.spec.emitter.name())
            .field("keys", &self.len())
            .finish()
    }
}
