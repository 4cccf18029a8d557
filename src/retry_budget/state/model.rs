//! The same budget, kept as plain lists of events, each with the time at which it happened.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::rt::clock::epoch;

/// Written down one by one, and counted anew for every question.
struct Twin {
    config: RetryBudgetConfig,
    /// When, in milliseconds, a request came to its first end.
    requests: Vec<u64>,
    /// When retries were sent on the share.
    retries: Vec<u64>,
    /// When attempts ended, and whether badly.
    attempts: Vec<(u64, bool)>,
    reserve: f64,
    held: u32,
    trickle: f64,
    now: u64,
    looked: u64,
}

impl Twin {
    fn new(config: RetryBudgetConfig) -> Self {
        let (requests, retries, attempts) = Default::default();
        let reserve = config.start.into();
        Self { config, requests, retries, attempts, reserve, held: 0, trickle: 1.0, now: 0, looked: 0 }
    }

    fn look(&mut self, succeeded: u64, now: u64) {
        let (before, was) = (self.balance().max(0.0), self.in_window());
        self.now = now;
        let unspent = was - self.in_window();
        let mut kept = unspent.min(before).max(0.0);
        for millis in spread(self.looked, now, succeeded, width(self.config.window)) {
            if self.recent(millis, self.config.window) {
                self.requests.push(millis);
            } else {
                kept += self.config.share;
            }
        }
        self.reserve = (self.reserve + kept).min(self.config.start.into());
        for millis in spread(self.looked, now, succeeded, width(self.config.health_window)) {
            self.attempts.push((millis, false));
        }
        self.looked = now;
    }

    fn record(&mut self, first: bool, failed: bool) {
        if first {
            self.requests.push(self.now);
        }
        self.attempts.push((self.now, failed));
    }

    fn recent(&self, at: u64, window: Duration) -> bool {
        at / width(window) + TENTHS > self.now / width(window)
    }

    fn balance(&self) -> f64 {
        self.in_window() - f64::from(self.held)
    }

    /// What the window has earned and not spent.
    fn in_window(&self) -> f64 {
        let recent = |list: &[u64]| -> f64 {
            list.iter().filter(|at| self.recent(**at, self.config.window)).map(|_| 1.0).sum()
        };
        recent(&self.requests) * self.config.share - recent(&self.retries)
    }

    fn gate(&self) -> f64 {
        let recent = self.attempts.iter().filter(|(at, _)| self.recent(*at, self.config.health_window));
        let (total, failed) =
            recent.fold((5.0, 0.0), |(total, bad), (_, failed)| (total + 1.0, bad + f64::from(*failed)));
        let rate: f64 = failed / total;
        match self.config.health_gate {
            HealthGate::Between(well_below, ill_from) if rate >= well_below => {
                if rate >= ill_from {
                    0.01
                } else {
                    ((ill_from - rate) / (ill_from - well_below)).max(0.01)
                }
            }
            _ => 1.0,
        }
    }

    fn withdraw(&mut self) -> Result<Purse, NoCredit> {
        let gate = self.gate();
        if gate < 1.0 && self.trickle + gate < 1.0 {
            self.trickle += gate;
            return Err(NoCredit::PeerIsIll);
        }
        let purse = if self.balance() + 1e-6 >= 1.0 {
            self.held += 1;
            Purse::Share
        } else if self.reserve + 1e-6 >= 1.0 {
            self.reserve -= 1.0;
            Purse::Reserve
        } else {
            return Err(NoCredit::ShareIsUsedUp);
        };
        self.trickle = if gate < 1.0 { self.trickle + gate - 1.0 } else { 1.0 };
        Ok(purse)
    }

    fn spend(&mut self, purse: Purse) {
        if purse == Purse::Share {
            self.held -= 1;
            self.retries.push(self.now);
        }
    }

    fn refund(&mut self, purse: Purse) {
        match purse {
            Purse::Share => self.held -= 1,
            Purse::Reserve => self.reserve += 1.0,
        }
        self.trickle = 1.0;
    }
}

/// When those that came evenly between two looks came, to a tenth of the window: one comes whenever a whole one is due.
fn spread(since: u64, now: u64, count: u64, width: u64) -> Vec<u64> {
    let tenths: Vec<u64> = (since / width..=now / width).collect();
    let (mut due, mut times) = (0, Vec::new());
    for tenth in &tenths {
        due += count;
        while due >= tenths.len() as u64 {
            due -= tenths.len() as u64;
            times.push(tenth * width);
        }
    }
    times
}

fn width(window: Duration) -> u64 {
    u64::try_from(window.as_millis()).expect("a short window") / TENTHS
}

const TENTHS: u64 = 10;

#[derive(Clone, Debug)]
enum Step {
    Look { succeeded: u64, gap: u64 },
    Record { first: bool, failed: bool },
    Withdraw,
    Spend(prop::sample::Index),
    Refund(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..40_u64, prop_oneof![0..50_u64, 0..900_u64, 0..9_000_u64])
            .prop_map(|(succeeded, gap)| Step::Look { succeeded, gap }),
        3 => (any::<bool>(), prop::bool::weighted(0.7)).prop_map(|(first, failed)| Step::Record { first, failed }),
        4 => Just(Step::Withdraw),
        2 => any::<prop::sample::Index>().prop_map(Step::Spend),
        1 => any::<prop::sample::Index>().prop_map(Step::Refund),
    ]
}

fn config() -> impl Strategy<Value = RetryBudgetConfig> {
    let shares = prop::sample::select(vec![0.0, 0.1, 0.2, 0.25, 1.0, 2.0]);
    (shares, 0..4_u32, any::<bool>(), prop::sample::select(vec![100_u64, 1_000, 3_000])).prop_map(
        |(share, start, gated, window)| {
            let config = RetryBudgetConfig::new().share(share).start(start);
            let config = config.window(Duration::from_millis(window));
            if gated { config } else { config.without_health_gate() }
        },
    )
}

proptest! {
    #[test]
    fn it_agrees_with_lists_of_events(config in config(), steps in prop::collection::vec(step(), 1..250)) {
        let mut state = State::new(config, epoch());
        let mut model = Twin::new(config);
        let mut purses = Vec::new();
        for step in steps {
            match step {
                Step::Look { succeeded, gap } => {
                    let now = model.now + gap;
                    state.look(succeeded, epoch() + Duration::from_millis(now));
                    model.look(succeeded, now);
                }
                Step::Record { first, failed } => {
                    state.record(first, failed);
                    model.record(first, failed);
                }
                Step::Withdraw => {
                    let withdrawn = state.withdraw();
                    prop_assert_eq!(withdrawn, model.withdraw());
                    purses.extend(withdrawn.ok());
                }
                Step::Spend(_) | Step::Refund(_) if purses.is_empty() => {}
                Step::Spend(index) => {
                    let purse = purses.swap_remove(index.index(purses.len()));
                    state.spend(purse);
                    model.spend(purse);
                }
                Step::Refund(index) => {
                    let purse = purses.swap_remove(index.index(purses.len()));
                    state.refund(purse);
                    model.refund(purse);
                }
            }
            prop_assert!((state.balance() - model.balance()).abs() < 1e-3);
            prop_assert!((state.gate() - model.gate()).abs() < 1e-9);
            prop_assert!((state.reserve() - model.reserve).abs() < 1e-3);
        }
    }
}
