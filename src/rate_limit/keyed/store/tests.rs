//! The store beside naive buckets, at its bound, and under storms of new keys.

use std::{cell::Cell, collections::HashMap, hash::Hasher, panic, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::rate_limit::{config::RateLimitConfig, rate::Rate};

fn above_0(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("above 0")
}

fn per_second(tokens: u32, burst: u32) -> RateLimitConfig {
    RateLimitConfig::per_second(tokens).burst(burst)
}

fn bucket(config: RateLimitConfig) -> Rate {
    config.bucket().expect("it has a rate")
}

fn store<K>(config: RateLimitConfig, max_keys: usize) -> Store<K> {
    Store::new(Numbers::new(&config), max_keys)
}

impl<K: Hash + Eq + Clone> Store<K> {
    /// Takes tokens, or says when there are enough.
    fn ask(&self, key: &K, cost: u32, now: Instant) -> Result<(), Option<Instant>> {
        self.take(key, above_0(cost), now).result.map_err(|denied| match denied {
            Denied::Until(at) => Some(self.epoch.instant(at)),
            Denied::CostTooHigh { .. } => None,
        })
    }
}

/// Tokens in units of the nanoseconds that they take to refill; never forgotten.
#[derive(Default)]
struct Naive {
    owed: HashMap<u32, (u64, Instant)>,
}

impl Naive {
    fn owed(&mut self, key: u32, now: Instant) -> &mut u64 {
        let (owed, last) = self.owed.entry(key).or_insert((0, now));
        let passed = u64::try_from((now - *last).as_nanos()).expect("a test is short");
        (*owed, *last) = (owed.saturating_sub(passed), now);
        owed
    }

    fn take(
        &mut self,
        key: u32,
        cost: u32,
        config: RateLimitConfig,
        now: Instant,
    ) -> Result<(), Option<Instant>> {
        let rate = bucket(config);
        let (cost, burst) = (rate.interval * u64::from(cost), rate.interval * u64::from(rate.burst.get()));
        let owed = self.owed(key, now);
        if cost > burst {
            return Err(None);
        }
        if *owed + cost > burst {
            return Err(Some(now + Duration::from_nanos(*owed + cost - burst)));
        }
        *owed += cost;
        Ok(())
    }

    fn change_rate(&mut self, old: RateLimitConfig, new: RateLimitConfig, now: Instant) {
        let (old, new) = (bucket(old), bucket(new));
        let keys: Vec<u32> = self.owed.keys().copied().collect();
        for key in keys {
            let owed = self.owed(key, now);
            let scaled = u128::from(*owed) * u128::from(new.interval) / u128::from(old.interval);
            *owed = u64::try_from(scaled).expect("small").min(new.interval * u64::from(new.burst.get()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn case_34_a_store_that_evicts_answers_as_one_that_forgets_nothing() {
    for seed in 0..8 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut rate = per_second(10, 4);
        let (store, mut naive) = (store(rate, 2_000), Naive::default());
        for step in 0..10_000 {
            if rng.random_bool(0.3) {
                tokio::time::advance(Duration::from_millis(rng.random_range(0..100))).await;
            }
            let now = clock::now();
            if rng.random_bool(0.01) {
                let new = per_second(rng.random_range(1..100), rng.random_range(1..10));
                naive.change_rate(mem::replace(&mut rate, new), new, now);
                store.update(Numbers::new(&new));
            }
            // A few keys call often, and many fill the store.
            let keys = if rng.random_bool(0.5) { 50 } else { 20_000 };
            let (key, cost) = (rng.random_range(0..keys), rng.random_range(1..4));
            let taken = store.ask(&key, cost, now);
            assert_eq!(taken, naive.take(key, cost, rate, now), "seed {seed}, step {step}");
        }
        assert!(store.counts().evicted > 100, "seed {seed}: {:?}", store.counts());
    }
}

#[tokio::test(start_paused = true)]
async fn case_34_at_the_bound_no_key_gets_more_than_its_bucket_holds() {
    let mut passed = [0, 0];
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let rate = per_second(10, 4);
        let (store, mut naive) = (store(rate, 50), Naive::default());
        for step in 0..5_000 {
            if rng.random_bool(0.1) {
                // Now and then a pause, after which every key finds room.
                tokio::time::advance(Duration::from_millis(if rng.random_bool(0.01) { 1_000 } else { 20 }))
                    .await;
            }
            let (key, now) = (rng.random_range(0..200), clock::now());
            let may = naive.owed(key, now).saturating_add(bucket(rate).interval) <= bucket(rate).interval * 4;
            if store.ask(&key, 1, now).is_ok() {
                assert!(may, "seed {seed}, step {step}: key {key} got too much");
                naive.take(key, 1, rate, now).expect("it may");
                passed[0] += 1;
            } else {
                passed[1] += u32::from(may);
            }
            assert!(store.len() <= 50, "seed {seed}, step {step}: {} keys", store.len());
        }
        assert!(store.counts().without_room > 0, "seed {seed}: the bound was never reached");
    }
    println!("passed {}, refused for want of room {}", passed[0], passed[1]);
}

#[tokio::test(start_paused = true)]
async fn keys_without_room_share_what_few_buckets_hold() {
    let rate = per_second(1, 5);
    let store = store(rate, 1_000);
    for key in 0..1_000 {
        assert_eq!(store.ask(&key, 1, clock::now()), Ok(()));
    }
    let flood = (1_000..20_000).filter(|key| store.ask(key, 1, clock::now()).is_ok());
    // Three shared buckets in each of 16 shards, of five tokens.
    assert_eq!((flood.count(), store.len()), (3 * 16 * 5, 1_000));
    let known = (0..1_000).filter(|key| store.ask(key, 1, clock::now()).is_ok());
    assert_eq!(known.count(), 1_000, "the keys with room are served as before");
}

#[tokio::test(start_paused = true)]
async fn while_there_is_room_an_idle_key_keeps_its_entry() {
    let store = store(per_second(1_000, 1), 1_000);
    for round in 1..=3 {
        for key in 0..1_000 {
            assert_eq!(store.ask(&key, 1, clock::now()), Ok(()));
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((store.len(), store.counts().evicted), (1_000, 0), "round {round}");
    }
    assert_eq!(store.ask(&1_000, 1, clock::now()), Ok(()));
    assert_eq!((store.len(), store.counts().evicted), (1_000, 1));
}

thread_local!(static HASHED: Cell<u64> = const { Cell::new(0) });

#[derive(Clone, Debug, PartialEq, Eq)]
struct Counted(u32);

impl Hash for Counted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        HASHED.set(HASHED.get() + 1);
        self.0.hash(state);
    }
}

#[tokio::test(start_paused = true)]
async fn case_81_a_storm_of_new_keys_costs_a_few_hashes_per_call() {
    for max_keys in [1_000, 10_000, 1_000_000] {
        for advance in [0, 20] {
            let store = store(per_second(10, 1), max_keys);
            HASHED.set(0);
            for key in 0..20_000 {
                let _ = store.ask(&Counted(key), 1, clock::now());
                if key % 64 == 0 {
                    tokio::time::advance(Duration::from_millis(advance)).await;
                }
            }
            // One for the call, two for an eviction, and the rest for growth.
            assert!(HASHED.get() < 6 * 20_000, "{} hashes with at most {max_keys} keys", HASHED.get());
        }
    }
}

/// Its clone panics.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Uncloneable(u32);

impl Clone for Uncloneable {
    fn clone(&self) -> Self {
        panic!("a key without a clone")
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_clone_panics_takes_no_place() {
    let store = store(per_second(1, 1), 1);
    for key in 0..2 {
        let asks = panic::AssertUnwindSafe(|| store.ask(&Uncloneable(key), 1, clock::now()));
        assert!(panic::catch_unwind(asks).is_err());
        assert_eq!((store.len(), store.counts().without_room), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn case_24_a_jump_of_years_is_survived_and_a_late_clock_forgives_nothing() {
    let store = store(per_second(1, 2), 10);
    let begin = clock::now();
    assert_eq!(store.ask(&1, 2, begin), Ok(()));
    tokio::time::advance(Duration::from_secs(100 * 365 * 24 * 3_600)).await;
    assert_eq!(store.ask(&1, 2, clock::now()), Ok(()));
    assert!(store.ask(&1, 1, begin).is_err());
}

#[tokio::test(start_paused = true)]
async fn case_34_a_call_with_a_late_reading_gets_no_second_burst_from_an_evicted_key() {
    let store = store(per_second(1, 2), 1);
    let begin = clock::now();
    assert_eq!(store.ask(&0, 2, begin), Ok(()));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(store.ask(&1, 1, clock::now()), Ok(()));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(store.counts().evicted, 1);
    assert_eq!(store.ask(&0, 2, begin), Ok(()));
    assert_eq!(store.counts().evicted, 2);
    assert!(store.ask(&0, 1, clock::now()).is_err());
}

#[test]
fn case_28_under_many_threads_a_key_gets_its_burst_and_its_rate() {
    let (rate, keys) = (per_second(100, 10), 10);
    let store = store(rate, 5);
    let begin = clock::now();
    let passed: u32 = std::thread::scope(|scope| {
        let spawn = |_| {
            let store = &store;
            scope.spawn(move || {
                (0..5_000_u32).filter(|n| store.ask(&(n % keys), 1, clock::now()).is_ok()).count()
            })
        };
        let running: Vec<_> = (0..64).map(spawn).collect();
        let passed = running.into_iter().map(|thread| thread.join().expect("no call panics"));
        passed.map(|passed| u32::try_from(passed).expect("few")).sum()
    });
    let most = f64::from(keys) * (10.0 + begin.elapsed().as_secs_f64() * 100.0);
    assert!(f64::from(passed) <= most, "{passed} passed, and {most} may");
    assert!(passed >= keys, "every key is served");
}
