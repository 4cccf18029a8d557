//! A naive model of the budget: plain lists of events, each with its time.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::rt::clock::epoch;

/// Each event is a list entry, and each answer counts the lists from the start.
struct Model {
    config: RetryBudgetConfig,
    /// When requests were recorded, in milliseconds.
    requests: Vec<u64>,
    /// When retries were sent that the ratio paid for.
    retries: Vec<u64>,
    /// When attempts with a vote ended, and whether they failed.
    attempts: Vec<(u64, bool)>,
    /// The index of the first attempt since the last success, or since the health window forgot all failures.
    consecutive_from: usize,
    reserve: f64,
    held: u32,
    unrecorded: u64,
    passed: f64,
    now: u64,
    looked: u64,
}

impl Model {
    fn new(config: RetryBudgetConfig) -> Self {
        let (requests, retries, attempts) = Default::default();
        let reserve = config.reserve.into();
        let (held, unrecorded, consecutive_from, passed) = (0, 0, 0, 1.0);
        Self {
            config,
            requests,
            retries,
            attempts,
            consecutive_from,
            reserve,
            held,
            unrecorded,
            passed,
            now: 0,
            looked: 0,
        }
    }

    fn look(&mut self, succeeded: u64, now: u64) {
        let (before, was) = (self.balance().max(0.0), self.in_window());
        self.now = now;
        let unspent = was - self.in_window();
        let mut kept = unspent.min(before).max(0.0);
        let requests = succeeded.saturating_sub(self.unrecorded);
        self.unrecorded -= succeeded - requests;
        for millis in spread(self.looked, now, requests, width(self.config.window)) {
            if self.recent(millis, self.config.window) {
                self.requests.push(millis);
            } else {
                kept += self.config.ratio;
            }
        }
        self.reserve = (self.reserve + kept).min(self.config.reserve.into());
        for millis in spread(self.looked, now, succeeded, width(self.config.health_window)) {
            self.attempts.push((millis, false));
        }
        let failures = self.attempts.iter().filter(|(_, failed)| *failed);
        if succeeded > 0 || failures.clone().all(|(at, _)| !self.recent(*at, self.config.health_window)) {
            self.consecutive_from = self.attempts.len();
        }
        self.looked = now;
    }

    fn record(&mut self, unhealthy: Option<bool>) {
        if self.unrecorded > 0 {
            self.unrecorded -= 1;
        } else {
            self.requests.push(self.now);
        }
        self.attempts.extend(unhealthy.map(|unhealthy| (self.now, unhealthy)));
        if unhealthy == Some(false) {
            self.consecutive_from = self.attempts.len();
        }
    }

    fn recent(&self, at: u64, window: Duration) -> bool {
        at / width(window) + TENTHS > self.now / width(window)
    }

    fn balance(&self) -> f64 {
        self.in_window() - f64::from(self.held)
    }

    /// The deposits of the window that are not spent.
    fn in_window(&self) -> f64 {
        let recent = |list: &[u64]| -> f64 {
            list.iter().filter(|at| self.recent(**at, self.config.window)).map(|_| 1.0).sum()
        };
        recent(&self.requests) * self.config.ratio - recent(&self.retries)
    }

    fn health_gate(&self) -> f64 {
        let recent = self.attempts.iter().filter(|(at, _)| self.recent(*at, self.config.health_window));
        let (total, failed) =
            recent.fold((5.0, 0.0), |(total, bad), (_, failed)| (total + 1.0, bad + f64::from(*failed)));
        let rate: f64 = failed / total;
        let consecutive = &self.attempts[self.consecutive_from..];
        let outage = consecutive.len() >= 5 && self.now - consecutive[0].0 >= 100;
        match self.config.health_gate {
            HealthGate::Between(..) if outage => 0.01,
            HealthGate::Between(healthy_below, unhealthy_from) if rate >= healthy_below => {
                if rate >= unhealthy_from {
                    0.01
                } else {
                    ((unhealthy_from - rate) / (unhealthy_from - healthy_below)).max(0.01)
                }
            }
            _ => 1.0,
        }
    }

    fn withdraw(&mut self) -> Result<Source, RejectedBy> {
        let gate = self.health_gate();
        if gate < 1.0 && self.passed + gate < 1.0 {
            self.passed += gate;
            return Err(RejectedBy::Health);
        }
        let source = if self.balance() + 1e-6 >= 1.0 {
            self.held += 1;
            Source::Ratio
        } else if self.reserve + 1e-6 >= 1.0 {
            self.reserve -= 1.0;
            Source::Reserve
        } else {
            return Err(RejectedBy::Ratio);
        };
        self.passed = if gate < 1.0 { self.passed + gate - 1.0 } else { 1.0 };
        Ok(source)
    }

    fn spend(&mut self, source: Source) {
        self.unrecorded += 1;
        if source == Source::Ratio {
            self.held -= 1;
            self.retries.push(self.now);
        }
    }

    fn refund(&mut self, source: Source) {
        match source {
            Source::Ratio => self.held -= 1,
            Source::Reserve => self.reserve += 1.0,
        }
        self.passed = 1.0;
    }
}

/// When requests come that are spread evenly between two looks, to a tenth of the window.
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
    Record { unhealthy: Option<bool> },
    Withdraw,
    Spend(prop::sample::Index),
    Refund(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..40_u64, prop_oneof![0..50_u64, 0..900_u64, 0..9_000_u64])
            .prop_map(|(succeeded, gap)| Step::Look { succeeded, gap }),
        3 => prop::option::of(prop::bool::weighted(0.7)).prop_map(|unhealthy| Step::Record { unhealthy }),
        4 => Just(Step::Withdraw),
        2 => any::<prop::sample::Index>().prop_map(Step::Spend),
        1 => any::<prop::sample::Index>().prop_map(Step::Refund),
    ]
}

fn config() -> impl Strategy<Value = RetryBudgetConfig> {
    let ratios = prop::sample::select(vec![0.0, 0.1, 0.2, 0.25, 1.0, 2.0]);
    (ratios, 0..4_u32, any::<bool>(), prop::sample::select(vec![100_u64, 1_000, 3_000])).prop_map(
        |(ratio, reserve, gated, window)| {
            let config = RetryBudgetConfig::new().ratio(ratio).reserve(reserve);
            let config = config.window(Duration::from_millis(window));
            if gated { config } else { config.without_health_gate() }
        },
    )
}

proptest! {
    #[test]
    fn it_agrees_with_lists_of_events(config in config(), steps in prop::collection::vec(step(), 1..250)) {
        let mut state = State::new(config, epoch());
        let mut model = Model::new(config);
        let mut sources = Vec::new();
        for step in steps {
            match step {
                Step::Look { succeeded, gap } => {
                    let now = model.now + gap;
                    state.look(succeeded, epoch() + Duration::from_millis(now));
                    model.look(succeeded, now);
                }
                Step::Record { unhealthy } => {
                    state.record(unhealthy);
                    model.record(unhealthy);
                }
                Step::Withdraw => {
                    let withdrawn = state.withdraw();
                    prop_assert_eq!(withdrawn, model.withdraw());
                    sources.extend(withdrawn.ok());
                }
                Step::Spend(_) | Step::Refund(_) if sources.is_empty() => {}
                Step::Spend(index) => {
                    let source = sources.swap_remove(index.index(sources.len()));
                    state.spend(source);
                    model.spend(source);
                }
                Step::Refund(index) => {
                    let source = sources.swap_remove(index.index(sources.len()));
                    state.refund(source);
                    model.refund(source);
                }
            }
            prop_assert!((state.balance() - model.balance()).abs() < 1e-3);
            prop_assert!((state.health_gate() - model.health_gate()).abs() < 1e-9);
            prop_assert!((state.reserve() - model.reserve).abs() < 1e-3);
        }
    }
}
