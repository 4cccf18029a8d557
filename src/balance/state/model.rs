//! A naive model of the machine: it keeps a log of all events, and reads it from the start to answer a question.
#![expect(
    clippy::cast_precision_loss,
    clippy::too_many_lines,
    reason = "small numbers, and one script of random operations"
)]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{Change, Counts, State};
use crate::{
    balance::config::{BalanceConfig, OutlierConfig},
    rt::clock::epoch,
    telemetry::EjectionCause,
};

const EJECT_FOR: Duration = Duration::from_secs(3);
const MAX_EJECT_FOR: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_secs(2);
const MAX_EJECTED: f64 = 0.5;
const PANIC: f64 = 0.4;

#[derive(Clone, Copy)]
enum Entry {
    Joined(u32),
    Weighed(u32),
    Answered {
        succeeded: u64,
        failed: u64,
    },
    Ejected(Instant),
    Returned,
    /// An interval ended, in which it was healthy.
    Judged,
}

#[derive(Default)]
struct Model {
    logs: BTreeMap<u8, Vec<Entry>>,
    order: Vec<u8>,
}

impl Model {
    fn weight(&self, key: u8) -> u32 {
        let weights = self.logs[&key].iter().filter_map(|entry| match entry {
            Entry::Joined(weight) | Entry::Weighed(weight) => Some(*weight),
            _ => None,
        });
        weights.fold(None, |_, weight| Some(weight)).expect("it has joined")
    }

    fn ejected_until(&self, key: u8) -> Option<Instant> {
        self.logs[&key].iter().rev().find_map(|entry| match entry {
            Entry::Ejected(until) => Some(Some(*until)),
            Entry::Returned | Entry::Joined(_) => Some(None),
            _ => None,
        })?
    }

    fn ejections(&self, key: u8) -> u32 {
        self.logs[&key].iter().fold(0_u32, |times, entry| match entry {
            Entry::Ejected(_) => times + 1,
            Entry::Judged => times.saturating_sub(1),
            _ => times,
        })
    }

    fn weighted(&self) -> Vec<u8> {
        self.order.iter().copied().filter(|key| self.weight(*key) > 0).collect()
    }

    fn healthy(&self) -> Vec<u8> {
        self.weighted().into_iter().filter(|key| self.ejected_until(*key).is_none()).collect()
    }

    fn eligible(&self) -> (Vec<u8>, bool) {
        let (all, healthy) = (self.weighted(), self.healthy());
        let panics = (healthy.len() as f64) < PANIC * all.len() as f64 - 1e-9;
        (if panics { all } else { healthy }, panics)
    }

    fn eject(&mut self, key: u8, now: Instant) -> bool {
        let (all, healthy) = (self.weighted().len(), self.healthy().len());
        let has_room = ((all - healthy) as f64) < MAX_EJECTED * all as f64 - 1e-9;
        if self.ejected_until(key).is_some() || healthy < 2 || !has_room {
            return false;
        }
        let time = (EJECT_FOR * (self.ejections(key) + 1)).min(MAX_EJECT_FOR);
        self.log(key, Entry::Ejected(now + time));
        true
    }

    fn log(&mut self, key: u8, entry: Entry) {
        self.logs.get_mut(&key).expect("it has joined").push(entry);
    }

    fn remove(&mut self, key: u8) -> bool {
        self.order.retain(|it| *it != key);
        self.logs.remove(&key).is_some()
    }
}

fn totals(model: &Model, key: u8) -> Counts {
    model.logs[&key].iter().fold(Counts::default(), |sum, entry| match entry {
        Entry::Answered { succeeded, failed } => {
            Counts { succeeded: sum.succeeded + succeeded, failed: sum.failed + failed, ..sum }
        }
        _ => sum,
    })
}

#[test]
fn the_machine_does_as_a_naive_one() {
    // Only large differences are outliers, so that the naive comparison needs no statistics: an endpoint that fails
    // 40 calls of 40 beside others that fail none.
    let rules = OutlierConfig::new()
        .eject_for(EJECT_FOR)
        .max_eject_for(MAX_EJECT_FOR)
        .interval(INTERVAL)
        .max_ejected(MAX_EJECTED);
    let config = BalanceConfig::new().outliers(rules).panic_threshold(PANIC);
    let (mut ejections, mut panics, mut returns) = (0, 0, 0);
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut state: State<u8, u8> = State::new(config, epoch());
        let (mut model, mut now, mut interval_ends) = (Model::default(), epoch(), epoch() + INTERVAL);
        let mut since: BTreeMap<u8, Counts> = BTreeMap::new();
        for _ in 0..120 {
            let key = random.random_range(0..7_u8);
            let is_there = model.logs.contains_key(&key);
            match random.random_range(0..8) {
                0 | 1 => {
                    let weight = random.random_range(0..3);
                    assert_eq!(state.insert(key, key, weight).is_some(), model.remove(key), "seed {seed}");
                    model.logs.insert(key, vec![Entry::Joined(weight)]);
                    model.order.push(key);
                    since.insert(key, Counts::default());
                }
                2 => {
                    assert_eq!(state.remove(&key).is_some(), model.remove(key), "seed {seed}");
                }
                3 => {
                    let weight = random.random_range(0..3);
                    assert_eq!(state.weigh(&key, weight), is_there, "seed {seed}");
                    if is_there {
                        model.log(key, Entry::Weighed(weight));
                    }
                }
                4 | 5 if is_there => {
                    let change = state.eject(|it| *it == key, EjectionCause::ConsecutiveFailures, now);
                    assert_eq!(change.is_some(), model.eject(key, now), "seed {seed}");
                    ejections += u32::from(change.is_some());
                }
                6 => {
                    let bad = random.random_range(0..14_u8);
                    for key in model.order.clone() {
                        let failed = if key == bad { 40 } else { 0 };
                        model.log(key, Entry::Answered { succeeded: 40 - failed, failed });
                    }
                }
                _ => {
                    now += Duration::from_millis(random.random_range(0..2_500));
                    let changes = state.advance(|key| totals(&model, *key), now);
                    let mut expected = 0;
                    for key in model.order.clone() {
                        if model.ejected_until(key).is_some_and(|until| until <= now) {
                            model.log(key, Entry::Returned);
                            since.insert(key, totals(&model, key));
                            expected += 1;
                        }
                    }
                    returns += expected;
                    let ejected = changes.iter().filter(|it| matches!(it, Change::Ejected { .. })).count();
                    let returned = changes.len() - ejected;
                    assert_eq!(returned, expected, "seed {seed}");
                    if interval_ends <= now {
                        interval_ends = now + INTERVAL;
                        let mut outliers = Vec::new();
                        let interval = |key: u8| totals(&model, key).since(since[&key]);
                        let all: Vec<u8> = model
                            .order
                            .iter()
                            .copied()
                            .filter(|key| model.ejected_until(*key).is_none())
                            .collect();
                        for key in &all {
                            let own = interval(*key);
                            let others: Vec<Counts> =
                                all.iter().filter(|it| *it != key).map(|it| interval(*it)).collect();
                            let (ok, bad) = others
                                .iter()
                                .fold((0, 0), |(ok, bad), it| (ok + it.succeeded, bad + it.failed));
                            let rate = |ok: u64, bad: u64| ok as f64 / (ok + bad) as f64;
                            if own.succeeded + own.failed > 0 && ok + bad > 0 {
                                let gap = rate(ok, bad) - rate(own.succeeded, own.failed);
                                if gap > 0.0 {
                                    outliers.push((gap, *key));
                                }
                            }
                        }
                        let named: Vec<u8> = changes
                            .iter()
                            .filter_map(|it| match it {
                                Change::Ejected { key, .. } => Some(*key),
                                _ => None,
                            })
                            .collect();
                        assert!(
                            named.iter().all(|key| outliers.iter().any(|it| it.1 == *key)),
                            "seed {seed}"
                        );
                        for key in all.iter().filter(|key| !named.contains(key)) {
                            model.log(*key, Entry::Judged);
                        }
                        for key in model.order.clone() {
                            since.insert(key, totals(&model, key));
                        }
                        for key in named {
                            assert!(model.eject(key, now), "seed {seed}");
                            ejections += 1;
                        }
                    } else {
                        assert_eq!(ejected, 0, "seed {seed}");
                    }
                }
            }
            let eligible = state.eligible();
            let keys: Vec<u8> = eligible.members.iter().map(|member| member.key).collect();
            assert_eq!((keys, eligible.is_panic), model.eligible(), "seed {seed}");
            panics += u32::from(eligible.is_panic);
            let returns = model.order.iter().filter_map(|key| model.ejected_until(*key)).min();
            let next = returns.map_or(interval_ends, |at| at.min(interval_ends));
            assert_eq!(state.next_timeout(), Some(next), "seed {seed}");
        }
    }
    assert!(ejections > 200 && panics > 50 && returns > 100, "{ejections} {panics} {returns}");
}
