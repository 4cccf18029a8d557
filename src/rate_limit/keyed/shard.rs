//! A part of the keys of a limit, without its lock.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    num::NonZeroU32,
};

use governor::nanos::Nanos;
use hashbrown::HashTable;

use super::key_limits::{Denied, KeyLimits, Numbers};
use crate::rate_limit::quota::Quotas;

/// The limits of each key.
///
/// A key without an entry has everything left. So an entry may go as soon as its bucket is full again and its window is
/// empty, and nothing is forgiven. At the bound, a new key looks at a few entries, and continues where the last one stopped.
///
/// Keys without room share the limits in `overflow`. A key that later finds room begins with a copy of the shared limits.
/// Without this, it would get a second burst.
#[derive(Debug)]
pub(super) struct Shard<K> {
    numbers: Numbers,
    /// The places of the keys in `entries`. An index of words costs less memory than a table of entries, which is up to
    /// half empty.
    places: HashTable<u32>,
    /// Without holes: the last one moves to where one is taken out.
    entries: Vec<Entry<K>>,
    /// The place at which the next search begins.
    hand: usize,
    /// Empty until the first key finds no room.
    overflow: Box<[KeyLimits]>,
    shared_limits: usize,
    counts: ShardCounts,
}

#[derive(Debug)]
struct Entry<K> {
    key: K,
    limits: KeyLimits,
}

/// The calls and keys of a shard, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ShardCounts {
    /// Calls that cost more than was left.
    pub(super) limited: u64,
    /// Entries that went because everything was left again.
    pub(super) evicted: u64,
    /// Calls that used shared limits.
    pub(super) without_room: u64,
}

impl<K> Shard<K> {
    /// Keys without room share so many limits, which is at least 1.
    pub(super) fn new(numbers: Numbers, shared_limits: usize) -> Self {
        Self {
            numbers,
            places: HashTable::new(),
            entries: Vec::new(),
            hand: 0,
            overflow: Box::default(),
            shared_limits,
            counts: ShardCounts::default(),
        }
    }

    pub(super) fn counts(&self) -> ShardCounts {
        self.counts
    }

    /// Takes the cost of a call from limits that keys without room share.
    pub(super) fn take_shared(&mut self, hash: u64, cost: NonZeroU32, now: Nanos) -> Result<(), Denied> {
        if self.overflow.is_empty() {
            self.overflow = (0..self.shared_limits).map(|_| KeyLimits::default()).collect();
        }
        self.counts.without_room += 1;
        let place = self.shared_place(hash).expect("there is one at least");
        let taken = self.overflow[place].take(&self.numbers, cost, now);
        self.count(taken)
    }

    /// Goes on with other numbers.
    pub(super) fn update(&mut self, new: Numbers, now: Nanos) {
        let old = std::mem::replace(&mut self.numbers, new);
        for limits in self.entries.iter_mut().map(|entry| &mut entry.limits).chain(&mut self.overflow) {
            limits.update(&old, &new, now);
        }
    }

    /// The place in `overflow` of a key without room, if there are any.
    fn shared_place(&self, hash: u64) -> Option<usize> {
        let count = u64::try_from(self.overflow.len()).expect("a length fits into 64 bits");
        Some(usize::try_from(hash.checked_rem(count)?).expect("it is smaller than a length"))
    }

    fn count(&mut self, taken: Result<(), Denied>) -> Result<(), Denied> {
        self.counts.limited += u64::from(taken.is_err());
        taken
    }
}

impl<K: Hash + Eq> Shard<K> {
    /// Takes the cost of a call, if the key has an entry.
    #[inline]
    pub(super) fn take(
        &mut self,
        hash: u64,
        key: &K,
        cost: NonZeroU32,
        now: Nanos,
    ) -> Option<Result<(), Denied>> {
        let place = self.places.find(hash, |place| self.entries[index(*place)].key == *key)?;
        let taken = self.entries[index(*place)].limits.take(&self.numbers, cost, now);
        Some(self.count(taken))
    }

    /// Takes the cost of a call whose key has no entry, and tells whether the key has one now.
    pub(super) fn take_new(
        &mut self,
        hash: u64,
        key: &K,
        cost: NonZeroU32,
        now: Nanos,
        hasher: &RandomState,
    ) -> (Result<(), Denied>, bool)
    where
        K: Clone,
    {
        let mut limits =
            self.shared_place(hash).map(|place| self.overflow[place].clone()).unwrap_or_default();
        let taken = limits.take(&self.numbers, cost, now);
        if taken.is_err() {
            // The key goes on as before, so that rejected calls fill no memory.
            return (self.count(taken), false);
        }
        if self.entries.len() == self.entries.capacity() {
            // Doubling would leave up to half of the memory unused.
            self.entries.reserve_exact(self.entries.len() / 8 + 4);
        }
        let place = u32::try_from(self.entries.len()).expect("a store has fewer keys");
        let rehash = |place: &u32| hasher.hash_one(&self.entries[index(*place)].key);
        // All code of the key runs first: if it panics, the place and the entry are both missing.
        let entry = Entry { key: key.clone(), limits };
        self.places.insert_unique(hash, place, rehash);
        self.entries.push(entry);
        (taken, true)
    }

    /// The quotas that the next call of the key finds. A key without an entry gets none by it.
    pub(super) fn quotas(&mut self, hash: u64, key: &K, now: Nanos) -> Quotas {
        let place = self.places.find(hash, |place| self.entries[index(*place)].key == *key).copied();
        let limits = match (place, self.shared_place(hash)) {
            (Some(place), _) => &mut self.entries[index(place)].limits,
            (None, Some(place)) => &mut self.overflow[place],
            (None, None) => &mut KeyLimits::default(),
        };
        limits.quotas(&self.numbers, now)
    }

    /// Takes out an entry that has everything left, if there is one among the next few.
    pub(super) fn evict_one(&mut self, now: Nanos, hasher: &RandomState) -> bool {
        for _ in 0..LOOKS.min(self.entries.len()) {
            if self.hand >= self.entries.len() {
                self.hand = 0;
            }
            if self.entries[self.hand].limits.is_unused(&self.numbers, now) {
                self.take_out(self.hand, hasher);
                self.counts.evicted += 1;
                return true;
            }
            self.hand += 1;
        }
        false
    }

    fn take_out(&mut self, at: usize, hasher: &RandomState) {
        let last = self.entries.len() - 1;
        // All code of the key runs before the first change, or after the last one: it may panic.
        let [gone, moved] = [at, last].map(|place| hasher.hash_one(&self.entries[place].key));
        let place = self.places.find_entry(gone, |place| index(*place) == at);
        place.expect("every entry has its place").remove();
        if at < last {
            let place = self.places.find_mut(moved, |place| index(*place) == last);
            *place.expect("every entry has its place") = u32::try_from(at).expect("it was a place");
        }
        self.entries.swap_remove(at);
    }
}

impl ShardCounts {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            limited: self.limited + other.limited,
            evicted: self.evicted + other.evicted,
            without_room: self.without_room + other.without_room,
        }
    }
}

fn index(place: u32) -> usize {
    usize::try_from(place).expect("a place is an index")
}

/// The next new key continues the search.
const LOOKS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate_limit::config::RateLimitConfig;

    #[test]
    fn case_81_a_new_key_looks_at_a_few_entries_and_the_next_one_continues() {
        let (mut shard, hasher) =
            (Shard::new(Numbers::new(&RateLimitConfig::per_second(1)), 1), RandomState::new());
        for key in 0..1_000 {
            // The last one is full again after two seconds, and all others after one.
            let now = Nanos::new(u64::from(key == 999) * 1_000_000_000);
            let (taken, is_kept) = shard.take_new(hasher.hash_one(key), &key, NonZeroU32::MIN, now, &hasher);
            assert_eq!((taken, is_kept), (Ok(()), true));
        }
        for call in 1..=200 {
            assert!(!shard.evict_one(Nanos::new(999_999_999), &hasher));
            assert_eq!(shard.hand % 1_000, (call * LOOKS) % 1_000, "call {call}");
        }
        let evicted = (0..2_000).filter(|_| shard.evict_one(Nanos::new(1_000_000_000), &hasher));
        assert_eq!((evicted.count(), shard.entries.len(), shard.places.len()), (999, 1, 1));
    }
}
