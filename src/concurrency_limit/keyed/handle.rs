//! The handle of the limits of a keyed layer.

use std::{
    fmt::{self, Display},
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use crate::{
    call::ConfigError,
    concurrency_limit::{config::ConcurrencyLimitConfig, handle::ConcurrencyLimitHandle},
    keyed::{ConfiguredState, KeyedState, States},
    telemetry::{Listener, Name},
};

/// The handle of the limits of a keyed layer.
///
/// # Clone
///
/// Clones share the limits.
pub struct KeyedConcurrencyLimitHandle<K> {
    shared: Arc<KeyedShared<K>>,
}

struct KeyedShared<K> {
    limits: States<K, ConcurrencyLimitHandle>,
    /// The limit of calls whose key finds no place. It has the name and the numbers of the layer.
    others: ConcurrencyLimitHandle,
}

impl<K> KeyedConcurrencyLimitHandle<K> {
    /// The limits have the numbers, the name and the listeners of this one.
    pub(super) fn new(layer: &ConcurrencyLimitHandle, max_keys: usize) -> Self {
        let limits = States::new(layer.config(), layer.shared.emitter.clone(), max_keys);
        let others = ConcurrencyLimitHandle::new(limits.config(), limits.emitter_of_others());
        Self { shared: Arc::new(KeyedShared { limits, others }) }
    }

    /// The layer's name. The name of a key's limit is `name:key`.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.shared.limits.name()
    }

    /// The numbers in force.
    #[must_use]
    pub fn config(&self) -> ConcurrencyLimitConfig {
        self.shared.limits.config()
    }

    /// Adds a listener, which hears the events of the layer and of every key from now on.
    pub fn listen(&self, listener: impl Listener) {
        self.shared.limits.listen(listener);
    }

    /// How many keys have a limit.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.limits.len()
    }

    /// Whether no key has a limit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The limit that calls share whose key finds no place.
    #[must_use]
    pub fn others(&self) -> ConcurrencyLimitHandle {
        self.shared.others.clone()
    }
}

impl<K: Hash + Eq + Clone + Display> KeyedConcurrencyLimitHandle<K> {
    /// The limit of a key, if it has one.
    ///
    /// The key is not evicted while the returned handle or a clone of it exists. Drop the handle to make room for other
    /// keys. A key that was evicted has no limit until its next call.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<ConcurrencyLimitHandle> {
        self.shared.limits.get(key)
    }

    /// All limits, in no particular order. No key of them is evicted while its handle exists.
    #[must_use]
    pub fn all(&self) -> Vec<(K, ConcurrencyLimitHandle)> {
        self.shared.limits.all()
    }

    /// Replaces the numbers of all limits, and of those of later keys. It emits one event, with the name of the layer.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule. The old numbers stay in force then.
    pub fn update(&self, config: ConcurrencyLimitConfig) -> Result<(), ConfigError> {
        config.check()?;
        self.shared.limits.update(config, Some(&self.shared.others));
        Ok(())
    }

    /// The limit for a call with this key, or that of all others if there is no room.
    pub(super) fn for_call(&self, key: &K) -> ConcurrencyLimitHandle {
        let KeyedShared { limits, others } = &*self.shared;
        limits.for_call(key, ConcurrencyLimitHandle::new).unwrap_or_else(|| others.clone())
    }
}

impl KeyedState for ConcurrencyLimitHandle {
    fn is_in_use(&self) -> bool {
        // The registry holds one reference; each call that waits or is in flight, and each handle of a user, another.
        Arc::strong_count(&self.shared) > 1
    }

    fn is_evictable(&self, _idle: Duration) -> bool {
        // Without calls there is nothing to forget but counts.
        true
    }
}

impl ConfiguredState for ConcurrencyLimitHandle {
    type Config = ConcurrencyLimitConfig;

    fn replace(&self, config: ConcurrencyLimitConfig) {
        self.apply(config);
    }
}

impl<K> Clone for KeyedConcurrencyLimitHandle<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> fmt::Debug for KeyedConcurrencyLimitHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedConcurrencyLimitHandle")
            .field("name", self.name())
            .field("keys", &self.len())
            .finish()
    }
}
