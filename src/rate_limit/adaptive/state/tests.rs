use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{super::model::Model, *};
use crate::{rate_limit::config::RateLimitConfig, rt::clock::epoch};

const SECOND: Duration = Duration::from_secs(1);
const LIMITED: Outcome = Outcome::failure(ErrorClass::RateLimit);

/// A limit of 100 calls per second, at a time that the test moves, whose calls are answered at once.
struct Driven {
    machine: AdaptiveRate,
    now: Instant,
    demand: Demand,
}

impl Driven {
    fn new(config: AdaptiveRateConfig) -> Self {
        let demand = Demand { held_up: 0, waiting: true };
        Self { machine: machine(config), now: epoch(), demand }
    }

    fn ends(&mut self, began: Instant, outcome: impl Into<Option<Outcome>>) -> Option<Change> {
        let latency = self.now.saturating_duration_since(began);
        let ended = Ended { began, latency, outcome: outcome.into(), quota: None };
        self.machine.record(&ended, self.demand, self.now)
    }

    /// A call that begins now is answered after 1 ms.
    fn answers(&mut self, outcome: Outcome) -> Option<Change> {
        let began = self.now;
        self.now += Duration::from_millis(1);
        self.ends(began, outcome)
    }

    /// An answer each 10 ms for so long.
    fn works(&mut self, time: Duration) -> Vec<Change> {
        let until = self.now + time;
        let mut changes = Vec::new();
        while self.now < until {
            self.now += Duration::from_millis(9);
            changes.extend(self.answers(Outcome::Success));
        }
        changes
    }

    fn hears(&mut self, remaining: u64, reset: Duration) {
        let quota = Some(QuotaState { remaining, reset: Some(reset) });
        let outcome = Some(Outcome::Success);
        let ended = Ended { began: self.now, latency: Duration::ZERO, outcome, quota };
        self.machine.record(&ended, self.demand, self.now);
    }

    fn rate(&self) -> f64 {
        self.machine.snapshot(self.now).per_second
    }
}

fn bounds(calls: u32, config: AdaptiveRateConfig) -> Bounds {
    let limit = RateLimitConfig::per_second(calls).adaptive(config);
    assert_eq!(limit.check(), Ok(()));
    limit.bounds().expect("it has a rate, and adapts")
}

fn machine(config: AdaptiveRateConfig) -> AdaptiveRate {
    AdaptiveRate::new(config, bounds(100, config))
}

fn near(rate: f64, expected: f64) -> bool {
    (rate - expected).abs() < 1e-6
}

#[test]
fn case_35_a_burst_of_429s_is_one_congestion() {
    let mut limit = Driven::new(AdaptiveRateConfig::new());
    let began: Vec<Instant> = (0..50).map(|n| limit.now + Duration::from_millis(n)).collect();
    limit.now += SECOND;
    let changes: Vec<Change> = began.iter().filter_map(|began| limit.ends(*began, LIMITED)).collect();
    assert_eq!(changes, [Change { from: 100.0, to: 70.0 }]);
    assert!(near(limit.rate(), 70.0));
    // A call that began after the decrease tells of the new rate.
    let began = limit.now + SECOND / 2;
    limit.now += SECOND;
    assert_eq!(limit.ends(began, LIMITED), Some(Change { from: 70.0, to: 49.0 }));
    assert_eq!(limit.machine.snapshot(limit.now).decreases, 2);
}

#[test]
fn case_35_the_rate_is_back_within_the_stated_time_of_use_and_not_before() {
    for recovery in [Recovery::Cubic, Recovery::Additive] {
        let config = AdaptiveRateConfig::new().recovery(recovery);
        let mut limit = Driven::new(config);
        limit.answers(LIMITED);
        let early = limit.works(Duration::from_millis(4_800));
        assert!(early.is_empty() && limit.rate() < 99.999, "{recovery:?}: {}", limit.rate());
        let changes = limit.works(Duration::from_millis(400));
        assert_eq!(changes.len(), 1, "{recovery:?}");
        assert!(changes[0].from < 100.0 && near(changes[0].to, 100.0), "{recovery:?}: {changes:?}");
    }
}

#[test]
fn the_curve_is_cubic_or_even_and_goes_on_beyond_the_former_rate() {
    let rates = |recovery| {
        let config = AdaptiveRateConfig::new().recovery(recovery).recover_within(10 * SECOND).ceiling(1_000);
        let mut limit = Driven::new(config);
        limit.answers(LIMITED);
        [5, 5, 10, 10].map(|seconds| {
            limit.works(SECOND * seconds);
            limit.rate()
        })
    };
    for (rate, expected) in rates(Recovery::Additive).into_iter().zip([85.0, 100.0, 130.0, 160.0]) {
        assert!((rate - expected).abs() < 1.5, "{rate} {expected}");
    }
    // Half of the time regains seven eighths, and three times the time passes by eight times the gap.
    let [half, full, twice, thrice] = rates(Recovery::Cubic);
    assert!((95.0..=97.0).contains(&half) && (99.9..=100.0).contains(&full), "{half} {full}");
    assert!((125.0..=131.0).contains(&twice) && (315.0..=345.0).contains(&thrice), "{twice} {thrice}");
}

#[test]
fn case_35_the_rate_never_falls_below_the_floor_and_grows_from_there() {
    let mut limit = Driven::new(AdaptiveRateConfig::new().floor(20).ceiling(150));
    for _ in 0..100 {
        limit.answers(LIMITED);
        limit.now += SECOND;
    }
    assert!(near(limit.rate(), 20.0));
    assert_eq!(limit.machine.rate().interval, 50_000_000, "it is exactly the floor");
    limit.works(120 * SECOND);
    assert!(near(limit.rate(), 150.0));
    assert_eq!(limit.machine.rate().interval, 6_666_667, "it is exactly the ceiling, rounded down");
}

#[test]
fn case_35_the_rate_does_not_grow_while_no_call_is_held_up() {
    let mut limit = Driven::new(AdaptiveRateConfig::new().ceiling(1_000));
    limit.answers(LIMITED);
    limit.demand.waiting = false;
    limit.works(60 * SECOND);
    assert!(near(limit.rate(), 70.0));
    // One call is held up after an hour: that hour was no time of use.
    limit.now += 3_600 * SECOND;
    limit.demand.held_up += 1;
    limit.answers(Outcome::Success);
    assert!((70.0..85.0).contains(&limit.rate()), "as after a second of use: {}", limit.rate());
}

#[test]
fn a_retry_after_pauses_and_keeps_the_rate() {
    let mut limit = Driven::new(AdaptiveRateConfig::new());
    limit.answers(LIMITED.retry_after(30 * SECOND));
    let until = limit.now + 30 * SECOND;
    assert_eq!(limit.machine.paused_until(), Some(until));
    // A shorter hint does not end the pause, and a late answer of before the pause does not prolong the growth.
    limit.answers(LIMITED.retry_after(SECOND));
    assert_eq!(limit.machine.paused_until(), Some(until));
    let rate = limit.rate();
    limit.now += 29 * SECOND;
    limit.answers(Outcome::Success);
    limit.now = until;
    limit.answers(Outcome::Success);
    assert!(near(limit.rate(), rate), "the pause is no time of use: {}", limit.rate());
    assert_eq!(limit.machine.snapshot(limit.now).paused_for, None);
}

#[test]
fn the_quota_of_the_backend_bounds_the_rate_until_it_is_renewed() {
    let mut limit = Driven::new(AdaptiveRateConfig::new().floor(5));
    limit.hears(300, 10 * SECOND);
    assert!(near(limit.rate(), 30.0));
    limit.hears(10, 10 * SECOND);
    assert!(near(limit.rate(), 5.0), "the floor holds");
    limit.hears(10_000_000, 10 * SECOND);
    assert!(near(limit.rate(), 100.0), "a high quota does not raise the rate");
    limit.hears(300, 10 * SECOND);
    limit.hears(0, Duration::ZERO);
    assert!(near(limit.rate(), 30.0), "a quota that is renewed at once is no bound");
    assert_eq!(limit.machine.paused_until(), None);
    limit.hears(0, 5 * SECOND);
    assert_eq!(limit.machine.paused_until(), Some(limit.now + 5 * SECOND));
    limit.now += 10 * SECOND;
    limit.answers(Outcome::Success);
    assert!(near(limit.rate(), 100.0), "the quota is renewed");
}

#[test]
fn congestion_under_a_quota_lowers_the_rate_in_force() {
    let mut limit = Driven::new(AdaptiveRateConfig::new());
    limit.hears(300, 10 * SECOND);
    limit.works(5 * SECOND);
    assert!(near(limit.machine.learnt, 100.0) && near(limit.rate(), 30.0));
    assert_eq!(limit.answers(LIMITED), Some(Change { from: 30.0, to: 21.0 }));
}

#[test]
fn answers_lower_the_rate_when_most_of_ten_are_slow() {
    let target = Duration::from_millis(100);
    let of = |slow: usize, outcome: Option<Outcome>| {
        let mut limit = Driven::new(AdaptiveRateConfig::new().target_latency(target));
        for n in 0..10 {
            let latency = if n < slow { target + Duration::from_nanos(1) } else { target };
            let ended = Ended { began: limit.now, latency, outcome, quota: None };
            limit.machine.record(&ended, limit.demand, limit.now);
        }
        limit.machine.snapshot(limit.now).decreases
    };
    assert_eq!([0, 5, 6, 10].map(|slow| of(slow, Some(Outcome::Success))), [0, 0, 1, 1]);
    assert_eq!(of(10, None), 1, "calls that are dropped after the target");
    assert_eq!(of(10, Some(Outcome::failure(ErrorClass::Server))), 0);
}

#[test]
fn each_outcome_has_its_vote() {
    let lowers = |outcome: Outcome| Driven::new(AdaptiveRateConfig::new()).answers(outcome).is_some();
    for class in ErrorClass::ALL {
        let expected = matches!(class, ErrorClass::RateLimit | ErrorClass::Timeout);
        assert_eq!(lowers(Outcome::failure(class)), expected, "{class}");
    }
    let grows = |outcome: Option<Outcome>| {
        let mut limit = Driven::new(AdaptiveRateConfig::new().ceiling(1_000));
        for _ in 0..100 {
            limit.now += SECOND;
            limit.ends(limit.now, outcome);
        }
        limit.rate() > 100.0
    };
    for (outcome, expected) in [
        (Some(Outcome::Success), true),
        (Some(Outcome::Deferred), true),
        (Some(Outcome::failure(ErrorClass::Validation)), true),
        (Some(Outcome::failure(ErrorClass::Authentication)), false),
        (Some(Outcome::failure(ErrorClass::Server)), false),
        (Some(Outcome::failure(ErrorClass::Connection)), false),
        (Some(Outcome::failure(ErrorClass::Unknown)), false),
        (Some(Outcome::DeadlineExceeded), false),
        (Some(Outcome::Ignored), false),
        (Some(Outcome::EndpointUnavailable), false),
        (None, false),
    ] {
        assert_eq!(grows(outcome), expected, "{outcome:?}");
    }
}

#[test]
fn case_64_other_numbers_keep_what_was_learnt() {
    let new = AdaptiveRateConfig::new;
    let mut limit = Driven::new(new());
    limit.machine.update(new(), bounds(200, new()));
    assert!(near(limit.rate(), 200.0), "nothing was learnt so far");
    limit.answers(LIMITED);
    limit.machine.update(new(), bounds(150, new()));
    assert!(near(limit.rate(), 140.0));
    limit.machine.update(new(), bounds(90, new()));
    assert!(near(limit.rate(), 90.0), "the new ceiling holds");
}

#[test]
fn a_naive_model_agrees_and_the_rate_stays_within_its_bounds() {
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let recovery = if random.random() { Recovery::Cubic } else { Recovery::Additive };
        let mut config = AdaptiveRateConfig::new().recovery(recovery).floor(random.random_range(1..50));
        config = config.ceiling(random.random_range(100..500)).recover_within(SECOND);
        config = config.decrease_factor(random.random_range(0.1..0.95));
        if random.random() {
            config = config.target_latency(Duration::from_millis(50));
        }
        let (mut machine, mut model) = (machine(config), Model::new(config, bounds(100, config)));
        let (mut now, mut demand) = (epoch(), Demand { held_up: 0, waiting: false });
        for step in 0..500 {
            now += Duration::from_millis(random.random_range(0..100));
            let latency = Duration::from_millis(random.random_range(0..100));
            demand.held_up += u64::from(random.random_bool(0.5));
            demand.waiting = random.random_bool(0.2);
            let delay = Duration::from_millis(random.random_range(0..3_000));
            let outcome = match random.random_range(0..100) {
                0 => Some(LIMITED),
                1 => Some(LIMITED.retry_after(delay)),
                2 => Some(Outcome::failure(ErrorClass::Timeout)),
                3..10 => Some(Outcome::failure(ErrorClass::Server)),
                10..15 => None,
                _ => Some(Outcome::Success),
            };
            let told = random.random_bool(0.02);
            let quota = QuotaState { remaining: random.random_range(0..200), reset: Some(delay) };
            // The clock of the test may be at its start.
            let began = now.checked_sub(latency).unwrap_or(now);
            let ended = Ended { began, latency, outcome, quota: told.then_some(quota) };
            machine.record(&ended, demand, now);
            model.record(ended, demand, now);
            let rate = machine.snapshot(now).per_second;
            assert!((rate - model.rate()).abs() < 1e-6, "seed {seed}, step {step}: {rate} {}", model.rate());
            assert_eq!(machine.paused_until(), model.paused_until(), "seed {seed}, step {step}");
            let bounds = bounds(100, config);
            assert!(rate >= bounds.floor && rate <= bounds.ceiling, "seed {seed}, step {step}: {rate}");
        }
    }
}
