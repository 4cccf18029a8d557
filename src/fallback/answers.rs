//! A bounded memory of the last good answer for each key.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

/// Holds one answer per key, with the time when it came.
///
/// All answers are in a list, oldest first. An answer that comes anew moves to the end; one that is given again does
/// not: so one order tells both which is too old and which goes when there is no room. Every operation takes constant
/// time; only the first one after `max` was lowered takes as many steps as entries go.
#[derive(Debug)]
pub(super) struct Answers<K, V> {
    /// The places of the keys in `slots`.
    by_key: HashMap<Arc<K>, usize>,
    /// Without holes: the last one moves to where one is taken out.
    slots: Vec<Slot<K, V>>,
    oldest: usize,
    newest: usize,
}

#[derive(Debug)]
struct Slot<K, V> {
    key: Arc<K>,
    value: V,
    at: Instant,
    older: usize,
    newer: usize,
}

impl<K: Hash + Eq, V> Answers<K, V> {
    pub(super) fn new() -> Self {
        Self { by_key: HashMap::new(), slots: Vec::new(), oldest: NONE, newest: NONE }
    }

    /// Remembers an answer; returns the one that made room for it, so that the caller may drop it elsewhere.
    ///
    /// That is the former one of this key, or else the oldest of all if there are `max`, or it is older than `ttl`.
    /// Where `max` was lowered, those too many go into `surplus`.
    pub(super) fn insert(
        &mut self,
        key: K,
        value: V,
        max: usize,
        ttl: Duration,
        now: Instant,
        surplus: &mut Vec<V>,
    ) -> Option<V> {
        if let Some(&index) = self.by_key.get(&key) {
            self.unlink(index);
            self.link(index);
            let slot = &mut self.slots[index];
            slot.at = now;
            return Some(std::mem::replace(&mut slot.value, value));
        }
        // More than one too many there are only where `max` has been lowered.
        while self.len() > max {
            surplus.extend(self.remove(self.oldest));
        }
        let is_old = |slot: &Slot<K, V>| now.saturating_duration_since(slot.at) > ttl;
        let leaves = self.len() >= max || self.slots.get(self.oldest).is_some_and(is_old);
        let left = leaves.then(|| self.remove(self.oldest)).flatten();

        let (key, index) = (Arc::new(key), self.slots.len());
        self.by_key.insert(Arc::clone(&key), index);
        self.slots.push(Slot { key, value, at: now, older: NONE, newer: NONE });
        self.link(index);
        left
    }

    /// The answer of a key. One that is older than `ttl` is forgotten instead, and goes into `expired`.
    pub(super) fn get(
        &mut self,
        key: &K,
        ttl: Duration,
        now: Instant,
        expired: &mut Option<V>,
    ) -> Option<&V> {
        let index = *self.by_key.get(key)?;
        if now.saturating_duration_since(self.slots[index].at) > ttl {
            *expired = self.remove(index);
            return None;
        }
        Some(&self.slots[index].value)
    }

    /// Takes an answer out; nothing where there is none.
    fn remove(&mut self, index: usize) -> Option<V> {
        self.by_key.remove(&self.slots.get(index)?.key);
        self.unlink(index);
        let slot = self.slots.swap_remove(index);
        if let Some(moved) = self.slots.get(index) {
            let (older, newer) = (moved.older, moved.newer);
            *self.by_key.get_mut(&moved.key).expect("every slot has its key") = index;
            *self.after(older) = index;
            *self.before(newer) = index;
        }
        Some(slot.value)
    }

    /// Takes a slot out of the list.
    fn unlink(&mut self, index: usize) {
        let (older, newer) = (self.slots[index].older, self.slots[index].newer);
        *self.after(older) = newer;
        *self.before(newer) = older;
    }

    /// Puts a slot at the newest end of the list.
    fn link(&mut self, index: usize) {
        let newest = self.newest;
        self.slots[index].older = newest;
        self.slots[index].newer = NONE;
        *self.after(newest) = index;
        self.newest = index;
    }

    /// Where it is written who comes after this slot; before the first comes nobody.
    fn after(&mut self, index: usize) -> &mut usize {
        if index == NONE { &mut self.oldest } else { &mut self.slots[index].newer }
    }

    /// Where it is written who comes before this slot.
    fn before(&mut self, index: usize) -> &mut usize {
        if index == NONE { &mut self.newest } else { &mut self.slots[index].older }
    }
}

impl<K, V> Answers<K, V> {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

/// No slot: no memory is that large.
const NONE: usize = usize::MAX;

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::rt::clock::epoch;

    /// The same, so simple that it must be right.
    #[derive(Default)]
    struct Naive(Vec<(u8, u32, Instant)>);

    impl Naive {
        fn insert(&mut self, key: u8, value: u32, max: usize, ttl: Duration, now: Instant) -> Option<u32> {
            let known = self.0.iter().position(|it| it.0 == key);
            let oldest_goes = || self.0.len() >= max || self.0.first().is_some_and(|it| now - it.2 > ttl);
            let left = match known {
                Some(index) => Some(self.0.remove(index).1),
                None if oldest_goes() => {
                    self.0.drain(..self.0.len().saturating_sub(max));
                    Some(self.0.remove(0).1)
                }
                None => None,
            };
            self.0.push((key, value, now));
            left
        }

        fn get(&mut self, key: u8, ttl: Duration, now: Instant) -> Option<u32> {
            self.0.retain(|it| it.0 != key || now - it.2 <= ttl);
            self.0.iter().find(|it| it.0 == key).map(|it| it.1)
        }
    }

    #[test]
    fn it_does_as_its_naive_model() {
        for seed in 0..20 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut answers, mut naive) = (Answers::new(), Naive::default());
            let (mut now, mut max) = (epoch(), 8);
            let ttl = Duration::from_secs(10);
            for value in 0..5_000 {
                let key = rng.random_range(0..16_u8);
                now += Duration::from_millis(rng.random_range(0..1_500));
                if rng.random_bool(0.01) {
                    max = rng.random_range(1..12);
                }
                if rng.random_bool(0.5) {
                    let left = answers.insert(key, value, max, ttl, now, &mut Vec::new());
                    assert_eq!(left, naive.insert(key, value, max, ttl, now), "seed {seed}, step {value}");
                } else {
                    let found = answers.get(&key, ttl, now, &mut None).copied();
                    assert_eq!(found, naive.get(key, ttl, now), "seed {seed}, step {value}");
                }
                assert_eq!(answers.len(), naive.0.len(), "seed {seed}, step {value}");
            }
        }
    }

    #[test]
    fn it_never_holds_more_than_it_may() {
        let mut answers = Answers::new();
        for key in 0..10_000_u32 {
            answers.insert(key, key, 7, Duration::MAX, epoch(), &mut Vec::new());
            assert!(answers.len() <= 7);
        }
        assert_eq!(answers.get(&9_993, Duration::MAX, epoch(), &mut None), Some(&9_993));
        assert_eq!(answers.get(&9_992, Duration::MAX, epoch(), &mut None), None);
    }

    #[test]
    fn an_answer_is_given_until_it_is_older_than_its_time() {
        let mut answers = Answers::new();
        let ttl = Duration::from_secs(5);
        answers.insert("key", 1, 2, ttl, epoch(), &mut Vec::new());
        assert_eq!(answers.get(&"key", ttl, epoch() + ttl, &mut None), Some(&1));
        assert_eq!(answers.get(&"key", ttl, epoch() + ttl + Duration::from_nanos(1), &mut None), None);
        assert_eq!(answers.len(), 0);
    }

    #[test]
    fn case_24_a_clock_that_seems_to_go_back_makes_nothing_old() {
        let mut answers = Answers::new();
        let later = epoch() + Duration::from_secs(60);
        answers.insert("key", 1, 2, Duration::from_secs(5), later, &mut Vec::new());
        assert_eq!(answers.get(&"key", Duration::from_secs(5), epoch(), &mut None), Some(&1));
    }
}
