//! A bounded memory of the last good answer for each key.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::Arc,
    time::Instant,
};

use super::config::FallbackConfig;

/// Holds one answer per key, with the time of its arrival.
///
/// A new answer for a known key makes the key the newest; a lookup does not. So one order tells both the answer that
/// expires next and the answer that makes room. Each operation takes logarithmic time.
#[derive(Debug)]
pub(super) struct Memory<K, V> {
    entries: HashMap<Arc<K>, Entry<V>>,
    /// The keys by the number of their answer, oldest first.
    by_age: BTreeMap<u64, Arc<K>>,
    next_number: u64,
}

#[derive(Debug)]
struct Entry<V> {
    number: u64,
    at: Instant,
    value: V,
}

impl<K, V> Memory<K, V> {
    pub(super) fn new() -> Self {
        Self { entries: HashMap::new(), by_age: BTreeMap::new(), next_number: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl<K: Hash + Eq, V> Memory<K, V> {
    /// Remembers an answer. The answers that make room for it go into `gone`, so that the caller drops them without
    /// the lock.
    pub(super) fn insert(
        &mut self,
        key: K,
        value: V,
        config: &FallbackConfig,
        now: Instant,
        gone: &mut Vec<(Arc<K>, V)>,
    ) {
        self.remove(&key, gone);
        // One expired answer makes way for each new one: after a quiet hour no call has to remove all of them.
        let oldest = self.oldest().filter(|key| self.is_expired(key, config, now));
        oldest.inspect(|key| self.remove(key, gone));
        // More than one answer goes only after `max_entries` was lowered.
        while self.len() >= usize::try_from(config.max_entries).unwrap_or(usize::MAX)
            && let Some(oldest) = self.oldest()
        {
            self.remove(&oldest, gone);
        }

        let (key, number) = (Arc::new(key), self.next_number);
        self.next_number += 1;
        self.by_age.insert(number, Arc::clone(&key));
        self.entries.insert(key, Entry { number, at: now, value });
    }

    /// The answer for a key. An expired one is removed instead, and goes into `gone`.
    pub(super) fn get(
        &mut self,
        key: &K,
        config: &FallbackConfig,
        now: Instant,
        gone: &mut Vec<(Arc<K>, V)>,
    ) -> Option<&V> {
        if self.is_expired(key, config, now) {
            self.remove(key, gone);
        }
        self.entries.get(key).map(|entry| &entry.value)
    }

    fn oldest(&self) -> Option<Arc<K>> {
        self.by_age.first_key_value().map(|(_, key)| Arc::clone(key))
    }

    fn is_expired(&self, key: &K, config: &FallbackConfig, now: Instant) -> bool {
        self.entries.get(key).is_some_and(|entry| now.saturating_duration_since(entry.at) > config.ttl)
    }

    fn remove(&mut self, key: &K, gone: &mut Vec<(Arc<K>, V)>) {
        if let Some((key, entry)) = self.entries.remove_entry(key) {
            self.by_age.remove(&entry.number);
            gone.push((key, entry.value));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::rt::clock::epoch;

    /// The same rules, over a list.
    #[derive(Default)]
    struct Model(Vec<(u8, u32, Instant)>);

    impl Model {
        fn insert(&mut self, key: u8, value: u32, config: &FallbackConfig, now: Instant) {
            self.0.retain(|it| it.0 != key);
            if self.0.first().is_some_and(|it| now - it.2 > config.ttl) {
                self.0.remove(0);
            }
            let room = config.max_entries as usize - 1;
            self.0.drain(..self.0.len().saturating_sub(room));
            self.0.push((key, value, now));
        }

        fn get(&mut self, key: u8, config: &FallbackConfig, now: Instant) -> Option<u32> {
            self.0.retain(|it| it.0 != key || now - it.2 <= config.ttl);
            self.0.iter().find(|it| it.0 == key).map(|it| it.1)
        }
    }

    #[test]
    fn it_does_as_its_model() {
        for seed in 0..20 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut memory, mut model) = (Memory::new(), Model::default());
            let mut now = epoch();
            let mut config = FallbackConfig::new().ttl(Duration::from_secs(10)).max_entries(8);
            let (mut inserted, mut gone) = (0, Vec::new());
            for value in 0..5_000 {
                let key = rng.random_range(0..16_u8);
                now += Duration::from_millis(rng.random_range(0..1_500));
                if rng.random_bool(0.01) {
                    config = config.max_entries(rng.random_range(1..12));
                }
                if rng.random_bool(0.5) {
                    inserted += 1;
                    memory.insert(key, value, &config, now, &mut gone);
                    model.insert(key, value, &config, now);
                } else {
                    let found = memory.get(&key, &config, now, &mut gone).copied();
                    assert_eq!(found, model.get(key, &config, now), "seed {seed}, step {value}");
                }
                assert_eq!(memory.len(), model.0.len(), "seed {seed}, step {value}");
                assert_eq!(memory.len(), memory.by_age.len(), "seed {seed}, step {value}");
                assert_eq!(memory.len() + gone.len(), inserted, "seed {seed}, step {value}");
            }
        }
    }

    #[test]
    fn it_never_holds_more_than_it_may() {
        let (mut memory, config) = (Memory::new(), FallbackConfig::new().max_entries(7));
        for key in 0..10_000_u32 {
            memory.insert(key, key, &config, epoch(), &mut Vec::new());
            assert!(memory.len() <= 7);
        }
        assert_eq!(memory.get(&9_993, &config, epoch(), &mut Vec::new()), Some(&9_993));
        assert_eq!(memory.get(&9_992, &config, epoch(), &mut Vec::new()), None);
    }

    #[test]
    fn an_answer_is_given_until_it_is_older_than_its_ttl() {
        let (mut memory, ttl) = (Memory::new(), Duration::from_secs(5));
        let (config, gone) = (FallbackConfig::new().ttl(ttl), &mut Vec::new());
        memory.insert("key", 1, &config, epoch(), gone);
        assert_eq!(memory.get(&"key", &config, epoch() + ttl, gone), Some(&1));
        assert_eq!(memory.get(&"key", &config, epoch() + ttl + Duration::from_nanos(1), gone), None);
        assert_eq!(memory.len(), 0);
    }

    #[test]
    fn case_24_a_clock_that_seems_to_go_back_expires_nothing() {
        let (mut memory, gone) = (Memory::new(), &mut Vec::new());
        let config = FallbackConfig::new().ttl(Duration::from_secs(5));
        memory.insert("key", 1, &config, epoch() + Duration::from_secs(60), gone);
        assert_eq!(memory.get(&"key", &config, epoch(), gone), Some(&1));
    }
}
