//! The handle of a keyed limit.

use std::{fmt, hash::Hash, num::NonZeroU32, sync::Arc};

use super::{
    key_limits::{Denied, Numbers},
    snapshot::KeyedRateLimitSnapshot,
    store::{Store, Taken},
};
use crate::{
    call::{ConfigError, Reason, Rejected},
    rate_limit::{config::RateLimitConfig, quota::Quotas},
    rt::{
        descent,
        sync::{AtomicBool, AtomicU64, Mutex, Ordering, lock},
    },
    telemetry::{Emitter, EventKind, Listener, Name},
};

/// Reads a keyed rate limit and changes its numbers.
///
/// # Clone
///
/// Clones, and all services and handles of one layer, share the limits.
pub struct KeyedRateLimitHandle<K> {
    shared: Arc<KeyedShared<K>>,
}

struct KeyedShared<K> {
    emitter: Emitter,
    max_keys: usize,
    store: Store<K>,
    /// Held during a change, so that two changes do not mix.
    config: Mutex<RateLimitConfig>,
    is_shadow: AtomicBool,
    would_limit: AtomicU64,
}

impl<K> KeyedRateLimitHandle<K> {
    pub(super) fn new(config: RateLimitConfig, emitter: Emitter, max_keys: usize) -> Self {
        let shared = KeyedShared {
            emitter,
            max_keys,
            store: Store::new(Numbers::new(&config), max_keys),
            config: Mutex::new(config),
            is_shadow: AtomicBool::new(config.is_shadow()),
            would_limit: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The layer's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.shared.emitter.name()
    }

    /// How many keys there are, and the counts of all of them together.
    ///
    /// It takes the same locks as the calls, one after the other.
    #[must_use]
    pub fn snapshot(&self) -> KeyedRateLimitSnapshot {
        let KeyedShared { max_keys, store, would_limit, .. } = &*self.shared;
        let counts = store.counts();
        // Relaxed: the counts need not be of the same moment.
        let would_limit = would_limit.load(Ordering::Relaxed);
        KeyedRateLimitSnapshot {
            keys: store.len(),
            max_keys: *max_keys,
            rejected: counts.limited.saturating_sub(would_limit),
            would_limit,
            evicted: counts.evicted,
            without_room: counts.without_room,
        }
    }

    /// The numbers in force.
    #[must_use]
    pub fn config(&self) -> RateLimitConfig {
        *lock(&self.shared.config)
    }

    /// Replaces the numbers of every key.
    ///
    /// The tokens that were taken stay taken, up to the new burst, and return at the new rate. The calls in a window stay
    /// in it. The change visits every key, a part of them at a time; meanwhile each call finds either the old or the new
    /// numbers.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule. The old numbers stay in force then.
    pub fn update(&self, config: RateLimitConfig) -> Result<(), ConfigError> {
        config.check()?;
        let shared = &self.shared;
        let mut current = lock(&shared.config);
        *current = config;
        shared.store.update(Numbers::new(&config));
        // Relaxed: a call of the same moment may follow the old mode.
        shared.is_shadow.store(config.is_shadow(), Ordering::Relaxed);
        drop(current);
        shared.emitter.emit(EventKind::Reconfigured);
        Ok(())
    }

    /// Adds a listener, which hears every [event](super#telemetry) from now on.
    pub fn listen(&self, listener: impl Listener) {
        self.shared.emitter.add(listener);
    }
}

impl<K: Hash + Eq + Clone> KeyedRateLimitHandle<K> {
    /// The quotas of this key, and how much of them is left for its next call.
    ///
    /// It takes the same lock as a call of the key, for one look, and allocates nothing. A key that made no call gets no
    /// state by it. Such a key has everything left; if there is no room for new keys, it has what those share.
    #[must_use]
    pub fn quotas(&self, key: &K) -> Quotas {
        self.shared.store.quotas(key)
    }

    /// Takes the cost of a call of this key.
    #[inline]
    pub(super) fn admit(&self, key: &K, cost: u32) -> Result<(), Rejected> {
        let Some(cost) = NonZeroU32::new(cost) else { return Ok(()) };
        match self.shared.store.take(key, cost, descent::now()) {
            Taken { result: Ok(()), exhausts: false } => Ok(()),
            taken => self.answer(taken, cost),
        }
    }

    // Cold: most calls pass, and find room.
    #[cold]
    fn answer(&self, taken: Taken, cost: NonZeroU32) -> Result<(), Rejected> {
        let shared = &self.shared;
        if taken.exhausts {
            shared.emitter.emit(EventKind::KeysExhausted { max_keys: shared.max_keys });
        }
        let Err(denied) = taken.result else { return Ok(()) };
        // Relaxed: neither the mode nor the count guards other memory.
        if shared.is_shadow.load(Ordering::Relaxed) {
            shared.would_limit.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let (reason, at) = match denied {
            Denied::Until(at) => (Reason::RateLimited, Some(shared.store.epoch().instant(at))),
            Denied::CostTooHigh { most } => (Reason::CostTooHigh { cost: cost.get(), most }, None),
        };
        Err(Rejected::new(self.name().clone(), reason).at(at))
    }
}

impl<K> Clone for KeyedRateLimitHandle<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> fmt::Debug for KeyedRateLimitHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimitHandle")
            .field("name", self.name())
            .field("keys", &self.shared.store.len())
            .finish_non_exhaustive()
    }
}
