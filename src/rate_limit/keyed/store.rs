//! The limits of all keys, in parts with a lock each.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    mem,
    num::NonZeroU32,
    time::Instant,
};

use governor::nanos::Nanos;

use super::{
    key_limits::{Denied, Numbers},
    shard::{Shard, ShardCounts},
};
use crate::{
    rate_limit::{quota::Quotas, rate::Epoch},
    rt::{
        clock,
        sync::{AtomicU64, Mutex, Ordering, OwnLine, lock},
    },
};

/// The limits of each key, in bounded memory.
#[derive(Debug)]
pub(super) struct Store<K> {
    /// Each store has a secret of its own, so that no client can choose keys that collide.
    hasher: RandomState,
    epoch: Epoch,
    max_keys: u64,
    /// The entries of all shards.
    keys: AtomicU64,
    /// When the last event told of a key without room, in nanoseconds. 0: never.
    told_at: AtomicU64,
    shards: Box<[OwnLine<Mutex<Shard<K>>>]>,
}

/// The answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) result: Result<(), Denied>,
    /// Whether the key found no room, and an event should tell of it.
    pub(super) exhausts: bool,
}

impl<K> Store<K> {
    pub(super) fn new(numbers: Numbers, max_keys: usize) -> Self {
        let max_keys: u64 = u32::try_from(max_keys).unwrap_or(u32::MAX).max(1).into();
        let shards = (max_keys / KEYS_PER_SHARD).clamp(1, MAX_SHARDS).next_power_of_two();
        let shared = usize::try_from(max_keys / KEYS_PER_SHARED_LIMITS / shards).unwrap_or(usize::MAX).max(1);
        let shards = (0..shards).map(|_| OwnLine(Mutex::new(Shard::new(numbers, shared)))).collect();
        Self {
            hasher: RandomState::new(),
            epoch: Epoch(clock::now()),
            max_keys,
            keys: AtomicU64::new(0),
            told_at: AtomicU64::new(0),
            shards,
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The keys that have an entry. A key that has everything left may have none.
    pub(super) fn len(&self) -> usize {
        // Relaxed: the count guards no other memory.
        usize::try_from(self.keys.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    pub(super) fn counts(&self) -> ShardCounts {
        self.shards
            .iter()
            .map(|shard| lock(&shard.0).counts())
            .fold(ShardCounts::default(), ShardCounts::plus)
    }

    /// Goes on with other numbers. Each key has either the old or the new ones.
    pub(super) fn update(&self, numbers: Numbers) {
        for shard in &self.shards {
            let mut shard = lock(&shard.0);
            shard.update(numbers, self.epoch.nanos(clock::now()));
        }
    }
}

impl<K: Hash + Eq + Clone> Store<K> {
    /// Takes the cost of a call of this key, or says why not.
    #[inline]
    pub(super) fn take(&self, key: &K, cost: NonZeroU32, now: Instant) -> Taken {
        let hash = self.hasher.hash_one(key);
        let mut shard = lock(self.shard(hash));
        match shard.take(hash, key, cost, self.epoch.nanos(now)) {
            Some(result) => Taken { result, exhausts: false },
            None => self.take_new(&mut shard, hash, key, cost),
        }
    }

    /// The quotas of this key, and what is left of them.
    pub(super) fn quotas(&self, key: &K) -> Quotas {
        let hash = self.hasher.hash_one(key);
        let mut shard = lock(self.shard(hash));
        shard.quotas(hash, key, self.epoch.nanos(clock::now()))
    }

    #[inline]
    fn shard(&self, hash: u64) -> &Mutex<Shard<K>> {
        // The table within a shard uses the lowest and the highest bits.
        let [_, _, _, byte, ..] = hash.to_le_bytes();
        // A mask instead of a division: the number of shards is a power of two.
        &self.shards[usize::from(byte) & (self.shards.len() - 1)].0
    }

    // Cold: most calls come from keys that called lately.
    #[cold]
    fn take_new(&self, shard: &mut Shard<K>, hash: u64, key: &K, cost: NonZeroU32) -> Taken {
        // A reading from before the lock may lie before the instant at which the key was evicted.
        let now = self.epoch.nanos(clock::now());
        // Relaxed, here and below: the count guards no other memory.
        let reserve = |keys| (keys < self.max_keys).then_some(keys + 1);
        let has_room = self.keys.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve).is_ok();
        // The place of an evicted key stays counted, for this key.
        if !has_room && !shard.evict_one(now, &self.hasher) {
            return Taken { result: shard.take_shared(hash, cost, now), exhausts: self.is_to_be_told(now) };
        }
        let room = Room(&self.keys);
        let (result, is_kept) = shard.take_new(hash, key, cost, now, &self.hasher);
        if is_kept {
            mem::forget(room);
        }
        Taken { result, exhausts: false }
    }

    fn is_to_be_told(&self, now: Nanos) -> bool {
        let tell = |told_at: u64| {
            let is_due = told_at == 0 || now.as_u64().saturating_sub(told_at) >= TELL_EVERY;
            is_due.then_some(now.as_u64().max(1))
        };
        self.told_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, tell).is_ok()
    }
}

/// A place that is counted and has no key yet. Its drop gives it back, also by a panic of the key's `Clone`.
struct Room<'a>(&'a AtomicU64);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        // Relaxed: the count guards no other memory.
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A flood of new keys finds no room again and again.
const TELL_EVERY: u64 = 60_000_000_000;
/// Calls wait for each other only within a shard, also while its memory grows.
const MAX_SHARDS: u64 = 64;
/// A new key evicts a key of its own shard only, so a shard of a few keys would seldom find one.
const KEYS_PER_SHARD: u64 = 64;
/// With so few shared limits, at most a sixteenth more calls pass than the keys with room may make.
const KEYS_PER_SHARED_LIMITS: u64 = 16;

#[cfg(all(test, not(shuttle)))]
mod tests;
