//! The registry beside a naive model, and under storms of new keys.

use std::{
    cell::Cell,
    collections::BTreeMap,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::{
    rt::clock::epoch,
    telemetry::{Emitter, Event, EventKind},
};

#[derive(Clone, Debug)]
struct Fake {
    number: u32,
    in_use: Rc<Cell<bool>>,
    evictable: Rc<Cell<bool>>,
    looks: Rc<Cell<usize>>,
    config: Rc<Cell<u32>>,
}

impl KeyedState for Fake {
    fn is_in_use(&self) -> bool {
        self.looks.set(self.looks.get() + 1);
        self.in_use.get()
    }

    fn is_evictable(&self, _: Duration) -> bool {
        self.evictable.get()
    }
}

fn fake(number: u32, looks: &Rc<Cell<usize>>) -> Fake {
    let (in_use, evictable) = (Rc::default(), Rc::new(Cell::new(true)));
    Fake { number, in_use, evictable, looks: Rc::clone(looks), config: Rc::default() }
}

fn at(millis: u64) -> Instant {
    epoch() + Duration::from_millis(millis)
}

#[test]
fn it_does_as_its_naive_model() {
    for seed in 0..20 {
        let (mut rng, looks) = (StdRng::seed_from_u64(seed), Rc::default());
        let registry = Registry::new(LOOKS);
        // As few keys as one search looks at, so that the model need not know where the hand is.
        let mut model = BTreeMap::<u32, (Fake, u64)>::new();
        for step in 0..5_000_u64 {
            let key = rng.random_range(0..40);
            if let Some((state, _)) = model.get(&rng.random_range(0..40)) {
                state.in_use.set(rng.random_bool(0.3));
                state.evictable.set(rng.random_bool(0.8));
            }
            let number = u32::try_from(step).expect("few steps");
            let found = registry.for_call(&key, || fake(number, &looks), at(step));
            let may_go = |(state, _): &(Fake, u64)| !state.in_use.get() && state.evictable.get();
            let known = model.contains_key(&key);
            if !known && model.len() == LOOKS {
                let oldest = model.iter().filter(|(_, it)| may_go(it)).min_by_key(|(_, it)| it.1);
                let Some(oldest) = oldest.map(|(key, _)| *key) else {
                    assert!(found.is_err(), "seed {seed}, step {step}");
                    continue;
                };
                model.remove(&oldest);
            }
            let found = found.expect("the model found a place");
            let entry = model.entry(key).or_insert_with(|| (found.clone(), step));
            entry.1 = step;
            assert_eq!(entry.0.number, found.number, "seed {seed}, step {step}");
            let mut all: Vec<u32> = registry.all().into_iter().map(|(key, _)| key).collect();
            all.sort_unstable();
            assert_eq!(all, model.keys().copied().collect::<Vec<_>>(), "seed {seed}, step {step}");
        }
    }
}

#[test]
fn case_81_a_storm_of_new_keys_looks_at_a_few_states_per_call() {
    for keys in [1_000, 20_000] {
        let looks = Rc::<Cell<usize>>::default();
        let registry = Registry::new(keys);
        for key in 0..u32::try_from(keys).expect("few keys") {
            let state = registry.for_call(&key, || fake(key, &looks), at(0)).expect("there is room");
            state.in_use.set(true);
        }
        for key in 0..10_000 {
            assert!(registry.for_call(&(1_000_000 + key), || fake(key, &looks), at(1)).is_err());
        }
        assert!(looks.get() <= 10_000 * 32, "{} looks with {keys} keys", looks.get());
    }
}

#[test]
fn one_idle_key_among_many_is_found_after_a_round() {
    let looks = Rc::default();
    let registry = Registry::new(1_000);
    for key in 0..1_000_u32 {
        let state = registry.for_call(&key, || fake(key, &looks), at(0)).expect("there is room");
        state.in_use.set(key != 700);
    }
    let tries =
        (0..1_000).take_while(|n| registry.for_call(&(2_000 + n), || fake(0, &looks), at(1)).is_err());
    assert!(tries.count() <= 1_000 / LOOKS + 1);
    assert!(registry.get(&700).is_none());
}

#[test]
fn exhaustion_is_reported_once_until_there_was_room() {
    let looks = Rc::default();
    let registry = Registry::new(1);
    let state = registry.for_call(&1, || fake(1, &looks), at(0)).expect("there is room");
    state.in_use.set(true);
    let ask = |key: u32| registry.for_call(&key, || fake(key, &looks), at(1)).map(|it| it.number);
    assert_eq!([ask(2), ask(3)], [Err(Exhausted { first: true }), Err(Exhausted { first: false })]);
    state.in_use.set(false);
    assert_eq!(ask(4), Ok(4));
    registry.get(&4).expect("it was made").in_use.set(true);
    assert_eq!(ask(5), Err(Exhausted { first: true }));
}

impl ConfiguredState for Fake {
    type Config = u32;

    fn replace(&self, config: u32) {
        self.config.set(config);
    }
}

#[test]
fn an_update_reaches_every_key_and_the_keys_that_are_made_meanwhile() {
    let looks = Rc::default();
    let states = States::new(1, Emitter::new("fake"), 1_000);
    let new = |config, _: Emitter| {
        let state = fake(0, &looks);
        state.config.set(config);
        state
    };
    for key in 0..200_u32 {
        states.for_call(&key, new).expect("there is room");
    }
    let others = fake(0, &looks);
    // An update falls between the making of this state and its place in the registry.
    let late = states.for_call(&200, |config, emitter| {
        states.update(2, Some(&others));
        new(config, emitter)
    });
    assert_eq!((late.expect("there is room").config.get(), others.config.get()), (2, 2));
    assert_eq!((states.len(), states.config()), (201, 2));
    assert!(states.all().iter().all(|(_, state)| state.config.get() == 2));
}

#[test]
fn a_listener_hears_the_keys_of_now_and_of_later_and_a_key_alone_tells_its_own() {
    let (looks, heard) = (Rc::default(), Arc::new(AtomicUsize::new(0)));
    let states = States::new(1, Emitter::new("fake"), 10);
    let mut emitters = Vec::new();
    let mut of_key = |key: u32| {
        states.for_call(&key, |_, emitter| {
            emitters.push(emitter);
            fake(key, &looks)
        });
    };
    let count = Arc::clone(&heard);
    of_key(1);
    states.listen(move |_: &Event| _ = count.fetch_add(1, Ordering::Relaxed));
    of_key(2);
    let count = Arc::clone(&heard);
    emitters[1].add(move |_: &Event| _ = count.fetch_add(10, Ordering::Relaxed));
    for (at, expected) in [(0, 1), (1, 12)] {
        emitters[at].emit(EventKind::Reconfigured);
        assert_eq!(heard.load(Ordering::Relaxed), expected);
    }
    assert_eq!(emitters[0].name().as_str(), "fake:1");
    states.update(1, None);
    assert_eq!(heard.load(Ordering::Relaxed), 13, "one event for all keys");
}

#[test]
fn all_finds_each_key_once_also_beyond_one_round() {
    let looks = Rc::default();
    let registry = Registry::new(1_000);
    for count in [0, 1, COPIES, COPIES + 1, 1_000] {
        for key in 0..count {
            registry.for_call(&key, || fake(0, &looks), at(0)).expect("there is room");
        }
        let mut all: Vec<_> = registry.all().into_iter().map(|(key, _)| key).collect();
        all.sort_unstable();
        assert_eq!(all, (0..count).collect::<Vec<_>>());
    }
}
