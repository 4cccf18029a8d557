//! A bounded registry of one state per key: circuits now, and every later state that a layer keeps per key.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

use crate::rt::sync::{Mutex, lock};

mod source;
mod states;

pub use source::KeySource;
pub(crate) use states::{ConfiguredState, States};

/// The state of one key.
pub(crate) trait KeyedState: Clone {
    /// Whether a call or a handle refers to the state, so that it must not be forgotten.
    fn is_in_use(&self) -> bool;

    /// Whether the state can be forgotten without loss, after so much time without a call.
    fn is_evictable(&self, idle: Duration) -> bool;
}

/// States by key, at most `max_keys` of them.
///
/// At the bound, a new key takes the place of the evictable key that was idle for the longest time, of a few that are
/// looked at. Each new key continues the search where the last one stopped, so every call costs constant time.
#[derive(Debug)]
pub(crate) struct Registry<K, V> {
    max_keys: usize,
    entries: Mutex<Entries<K, V>>,
}

#[derive(Debug)]
struct Entries<K, V> {
    /// The places of the keys in `slots`.
    by_key: HashMap<K, usize>,
    /// Without holes: the last one moves to where one is taken out.
    slots: Vec<Slot<K, V>>,
    calls: u64,
    /// The place at which the next search begins.
    hand: usize,
    /// Whether the last new key found no place.
    exhausted: bool,
}

#[derive(Debug)]
struct Slot<K, V> {
    key: K,
    state: V,
    last_call: Instant,
    /// The number of that call, which orders calls at the same instant too.
    call: u64,
}

/// No key could be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted {
    /// Whether the last new key still found a place.
    pub(crate) first: bool,
}

impl<K, V> Registry<K, V> {
    pub(crate) fn new(max_keys: usize) -> Self {
        let entries =
            Entries { by_key: HashMap::new(), slots: Vec::new(), calls: 0, hand: 0, exhausted: false };
        Self { max_keys, entries: Mutex::new(entries) }
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.entries).slots.len()
    }
}

impl<K: Hash + Eq + Clone, V: KeyedState> Registry<K, V> {
    /// The state of a key, if it has one.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let entries = lock(&self.entries);
        entries.by_key.get(key).map(|slot| entries.slots[*slot].state.clone())
    }

    /// All keys with their states, in no particular order.
    ///
    /// Calls wait for a few keys only, and not for all: the lock is released in between. A key that is new or evicted
    /// meanwhile may be missing.
    pub(crate) fn all(&self) -> Vec<(K, V)> {
        let mut found = HashMap::new();
        let mut end = usize::MAX;
        loop {
            let entries = lock(&self.entries);
            // From the last slot to the first: an eviction moves the last slot to a lower place, so no slot is passed
            // over, and a slot that is found twice is the same key.
            end = end.min(entries.slots.len());
            let begin = end.saturating_sub(COPIES);
            found.extend(entries.slots[begin..end].iter().map(|slot| (slot.key.clone(), slot.state.clone())));
            drop(entries);
            if begin == 0 {
                return found.into_iter().collect();
            }
            end = begin;
        }
    }

    /// The state of a key for a call now. `new` makes the state of a new key.
    pub(crate) fn for_call(&self, key: &K, new: impl FnOnce() -> V, now: Instant) -> Result<V, Exhausted> {
        if let Some(found) = lock(&self.entries).find_or_make_room(key, self.max_keys, now)? {
            return Ok(found);
        }
        // Without the lock, because `new` runs code of the user, which may ask this registry.
        let (state, key) = (new(), key.clone());
        let mut entries = lock(&self.entries);
        if let Some(found) = entries.find_or_make_room(&key, self.max_keys, now)? {
            return Ok(found);
        }
        let slot = entries.slots.len();
        entries.by_key.insert(key.clone(), slot);
        let call = entries.calls;
        entries.slots.push(Slot { key, state: state.clone(), last_call: now, call });
        entries.exhausted = false;
        Ok(state)
    }
}

impl<K: Hash + Eq, V: KeyedState> Entries<K, V> {
    /// The state of a key; `None` if it has none and there is room for it.
    fn find_or_make_room(&mut self, key: &K, max_keys: usize, now: Instant) -> Result<Option<V>, Exhausted> {
        self.calls += 1;
        if let Some(slot) = self.by_key.get(key) {
            let slot = &mut self.slots[*slot];
            (slot.last_call, slot.call) = (now, self.calls);
            return Ok(Some(slot.state.clone()));
        }
        if self.slots.len() < max_keys || self.evict_one(now) {
            return Ok(None);
        }
        Err(Exhausted { first: !std::mem::replace(&mut self.exhausted, true) })
    }

    /// Forgets the evictable key that was idle for the longest time, of the next few.
    fn evict_one(&mut self, now: Instant) -> bool {
        let looks = self.slots.len().min(LOOKS);
        let (begin, count) = (self.hand, self.slots.len());
        self.hand = (begin + looks) % count.max(1);
        let evictable = |slot: &Slot<K, V>| {
            let idle = now.saturating_duration_since(slot.last_call);
            !slot.state.is_in_use() && slot.state.is_evictable(idle)
        };
        let found = (begin..begin + looks)
            .map(|at| at % count)
            .filter(|at| evictable(&self.slots[*at]))
            .min_by_key(|at| self.slots[*at].call);
        let Some(at) = found else { return false };
        let gone = self.slots.swap_remove(at);
        self.by_key.remove(&gone.key);
        if let Some(moved) = self.slots.get(at) {
            *self.by_key.get_mut(&moved.key).expect("every slot has its key") = at;
        }
        true
    }
}

/// Each look takes the lock of the state and reads its window.
const LOOKS: usize = 16;
/// As many keys are copied in a few microseconds.
const COPIES: usize = 64;

#[cfg(all(test, not(shuttle)))]
mod tests;
