//! The handle of the limits of a keyed layer.

use std::{
    cell::Cell,
    fmt::{self, Display},
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use crate::{
    call::ConfigError,
    concurrency_limit::{config::ConcurrencyLimitConfig, handle::ConcurrencyLimitHandle},
    keyed::{KeyedState, Registry},
    rt::descent,
    telemetry::{EventKind, Name},
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
    max_keys: usize,
    limits: Registry<K, ConcurrencyLimitHandle>,
    /// The limit of calls whose key finds no place. It has the name and the numbers of the layer.
    others: ConcurrencyLimitHandle,
}

impl<K> KeyedConcurrencyLimitHandle<K> {
    pub(super) fn new(others: ConcurrencyLimitHandle, max_keys: usize) -> Self {
        Self { shared: Arc::new(KeyedShared { max_keys, limits: Registry::new(max_keys), others }) }
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
        self.shared.others.update(config)?;
        for (_, limit) in self.all() {
            limit.apply(config);
        }
        Ok(())
    }

    /// The limit for a call with this key.
    pub(super) fn for_call(&self, key: &K) -> ConcurrencyLimitHandle {
        let KeyedShared { max_keys, limits, others } = &*self.shared;
        let is_new = Cell::new(false);
        let new = || {
            is_new.set(true);
            others.joined(Name::from(format!("{}:{key}", others.name().as_str())), &[])
        };
        match limits.for_call(key, new, descent::now()) {
            Ok(limit) => {
                // An update may have passed over a limit that was made and not yet listed.
                if is_new.get() && limit.config() != others.config() {
                    limit.apply(others.config());
                }
                limit
            }
            Err(exhausted) => {
                if exhausted.first {
                    others.shared.emitter.emit(EventKind::KeysExhausted { max_keys: *max_keys });
                }
                others.clone()
            }
        }
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

impl<K> Clone for KeyedConcurrencyLimitHandle<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> fmt::Debug for KeyedConcurrencyLimitHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedConcurrencyLimitHandle")
            .field("name", self.shared.others.name())
            .field("keys", &self.len())
            .finish()
    }
}
