use std::{cmp::Reverse, collections::BinaryHeap};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::{
    rate_limit::{
        RateLimitConfig,
        leased::{LeasedRateLimitConfig, gcra, source::QuotaRequest},
    },
    rt::clock::epoch,
};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

/// Instances, their store, and the questions between them, in nanoseconds.
struct World {
    numbers: Numbers,
    instances: Vec<(Lease, u32)>,
    full_at: u64,
    /// The store has the question, or the instance has the answer.
    mail: BinaryHeap<Reverse<(u64, usize, usize)>>,
    letters: Vec<Letter>,
    /// The one-way time of a letter is random, up to this.
    delay: u64,
    is_up: bool,
    lost_since: Option<Instant>,
    rng: StdRng,
    /// A bucket of the promised size, which everything that passed has to fit into.
    promised: Promised,
    passed: Vec<u64>,
}

#[derive(Clone, Copy)]
enum Letter {
    Question(Ask),
    Answer(Option<Grant>),
}

/// The naive model: the level of one bucket for all.
struct Promised {
    level: f64,
    at: u64,
    highest: f64,
}

impl World {
    fn new(config: LeasedRateLimitConfig, instances: usize, delay: u64, seed: u64) -> Self {
        Self {
            numbers: config.numbers(),
            instances: (0..instances).map(|_| (Lease::new(epoch()), 0)).collect(),
            full_at: 0,
            mail: BinaryHeap::new(),
            letters: Vec::new(),
            delay,
            is_up: true,
            lost_since: None,
            rng: StdRng::seed_from_u64(seed),
            promised: Promised { level: 0.0, at: 0, highest: 0.0 },
            passed: vec![0; instances],
        }
    }

    fn post(&mut self, instance: usize, letter: Letter, now: u64) {
        let delay = if self.delay == 0 { 0 } else { self.rng.random_range(0..self.delay) };
        self.letters.push(letter);
        self.mail.push(Reverse((now + delay, self.letters.len() - 1, instance)));
    }

    /// Brings every letter until now.
    fn deliver(&mut self, until: u64) {
        while let Some(Reverse((now, letter, instance))) = self.mail.peek().copied()
            && now <= until
        {
            self.mail.pop();
            match self.letters[letter] {
                Letter::Question(_) if !self.is_up => self.post(instance, Letter::Answer(None), now),
                Letter::Question(Ask { owed, wanted }) => {
                    let rate = self.numbers.source;
                    let interval = Duration::from_nanos(rate.interval);
                    let request = QuotaRequest::new("k", interval, rate.burst.get());
                    let grant;
                    (self.full_at, grant) =
                        gcra::lease(self.full_at, &request.owed(owed).wanted(wanted), now);
                    self.post(instance, Letter::Answer(Some(grant)), now);
                }
                Letter::Answer(Some(grant)) => {
                    let (lease, left) = &mut self.instances[instance];
                    *left += lease.granted(&grant, at(now));
                    self.lost_since = None;
                }
                Letter::Answer(None) => {
                    self.instances[instance].0.failed(at(now));
                    self.lost_since = self.lost_since.or(Some(at(now)));
                }
            }
        }
    }

    /// A call at an instance. Whether it passes.
    fn call(&mut self, instance: usize, cost: u32, now: u64) -> bool {
        self.deliver(now);
        let (lease, left) = &mut self.instances[instance];
        let given = if *left >= cost {
            Ok(0)
        } else {
            lease.give(&self.numbers, cost, *left, self.lost_since, at(now))
        };
        if let Ok(units) = given {
            *left = *left + units - cost;
            self.passed[instance] += u64::from(cost);
            self.promised.take(cost, self.numbers.source.interval, now);
        }
        if (given.is_err() || *left <= self.numbers.lease / 2)
            && let Some(ask) = lease.ask(&self.numbers, *left, at(now))
        {
            self.post(instance, Letter::Question(ask), now);
        }
        given.is_ok()
    }

    /// Calls at random instances, so many per second at all of them together.
    fn load(&mut self, per_second: u64, from: u64, until: u64) {
        let mut now = from;
        loop {
            now += self.rng.random_range(1..2 * SECOND / per_second);
            if now >= until {
                return;
            }
            let instance = self.rng.random_range(0..self.instances.len());
            self.call(instance, 1, now);
        }
    }

    fn total(&self) -> u64 {
        self.passed.iter().sum()
    }
}

impl Promised {
    fn take(&mut self, units: u32, interval: u64, now: u64) {
        let come = Duration::from_nanos(now - self.at).div_duration_f64(Duration::from_nanos(interval));
        self.level = (self.level - come).max(0.0) + f64::from(units);
        (self.at, self.highest) = (now, self.highest.max(self.level));
    }
}

fn at(nanos: u64) -> Instant {
    epoch() + Duration::from_nanos(nanos)
}

fn limit(per_second: u32) -> RateLimitConfig {
    RateLimitConfig::per_second(per_second)
}

#[test]
fn case_28_all_instances_together_keep_the_limit_of_one() {
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let planned = rng.random_range(1..=8);
        let instances = rng.random_range(1..=usize::try_from(planned).expect("small"));
        let burst = rng.random_range(4 * planned..1_000);
        let config = limit(rng.random_range(10..2_000)).burst(burst).leased().instances(planned);
        let delay = [0, MILLISECOND, 50 * MILLISECOND, SECOND][rng.random_range(0..4)];
        let mut world = World::new(config, instances, delay, seed);
        let mut now = 0;
        for _ in 0..20 {
            // Idle, calm, busy.
            now += rng.random_range(0..2 * SECOND);
            let until = now + rng.random_range(0..SECOND);
            let load = [1, 100, 5_000][rng.random_range(0..3)];
            world.load(load, now, until);
            now = until;
        }
        let highest = world.promised.highest;
        assert!(highest <= f64::from(burst) + 1.0, "seed {seed}: {highest} of {burst}, {config:?}");
    }
}

#[test]
fn a_busy_limit_is_used_up_and_shared_fairly() {
    for (delay, instances) in
        [(MILLISECOND / 4, 4), (MILLISECOND, 4), (20 * MILLISECOND, 4), (MILLISECOND, 1)]
    {
        let mut world = World::new(limit(1_000).leased(), instances, delay, 1);
        world.load(4_000, 0, 30 * SECOND);
        let (total, questions) = (world.total(), world.letters.len() / 2);
        println!("delay {delay} ns, {instances} instances: {:?}, {questions} questions", world.passed);
        assert!((29_700..=31_000).contains(&total), "{total}");
        let fair = total / u64::try_from(instances).expect("small");
        assert!(world.passed.iter().all(|it| (fair / 2..=fair * 2).contains(it)), "{:?}", world.passed);
    }
}

#[test]
fn a_load_below_the_limit_passes() {
    for delay in [MILLISECOND, 20 * MILLISECOND] {
        let mut world = World::new(limit(1_000).leased(), 4, delay, 2);
        world.load(800, 0, 30 * SECOND);
        let questions = world.letters.len() / 2;
        println!("delay {delay} ns: {} of 24 000, {questions} questions", world.total());
        assert!(world.total() > 23_500, "{}", world.total());
        assert!(questions < 24_000 / 10, "{questions}");
    }
}

#[test]
fn without_the_source_the_instances_keep_their_shares_and_then_open_or_close() {
    for after_grace in [AfterGrace::Open, AfterGrace::Closed] {
        let config = limit(1_000).leased().grace(Duration::from_secs(10)).after_grace(after_grace);
        let mut world = World::new(config, 4, MILLISECOND, 3);
        world.load(4_000, 0, 5 * SECOND);
        world.is_up = false;
        let before = world.total();
        world.load(4_000, 5 * SECOND, 15 * SECOND);
        let on_share = world.total() - before;
        assert!((9_500..=10_200 + 250).contains(&on_share), "{on_share}");
        let before = world.total();
        world.load(4_000, 15 * SECOND, 20 * SECOND);
        let after = world.total() - before;
        match after_grace {
            AfterGrace::Open => assert!(after > 19_000, "{after}"),
            AfterGrace::Closed => assert!(after < 250, "{after}"),
        }
        world.is_up = true;
        let before = world.total();
        world.load(4_000, 20 * SECOND, 30 * SECOND);
        let recovered = world.total() - before;
        assert!((9_500..=10_200 + 1_000).contains(&recovered), "{recovered}");
    }
}

#[test]
fn an_idle_instance_has_a_share_too() {
    let mut world = World::new(limit(1_000).leased(), 4, MILLISECOND, 4);
    // One instance has all calls, and then another one.
    for call in 0..5_000 {
        world.call(0, 1, call * MILLISECOND);
    }
    world.is_up = false;
    for call in 5_000..15_000 {
        world.call(usize::from(call % 2 == 1), 1, call * MILLISECOND);
    }
    let [heavy, idle] = [world.passed[0] - 5_000, world.passed[1]];
    assert!((1_200..=1_400).contains(&idle), "{idle}");
    assert!(heavy > 4_500, "{heavy}");
}

#[test]
fn credit_is_given_once_and_charged() {
    let numbers = limit(100).leased().numbers();
    let mut lease = Lease::new(at(0));
    assert_eq!(lease.give(&numbers, 1, 0, None, at(0)), Ok(6));
    assert_eq!(lease.ask(&numbers, 5, at(0)), Some(Ask { owed: 6, wanted: 1 }));
    // The question is in flight.
    assert_eq!(lease.give(&numbers, 1, 0, None, at(MILLISECOND)), Err(at(MILLISECOND) + SOON));
    assert_eq!(lease.ask(&numbers, 0, at(MILLISECOND)), None);
    let retry_after = Duration::from_millis(50);
    let grant = Grant { granted: 100, retry_after, ..Grant::default() };
    assert_eq!(lease.granted(&grant, at(2 * MILLISECOND)), 1, "no more than was wanted");
    // The bucket is empty.
    let until = at(52 * MILLISECOND);
    assert_eq!(lease.give(&numbers, 1, 0, None, at(3 * MILLISECOND)), Err(until));
    assert_eq!(lease.ask(&numbers, 0, at(51 * MILLISECOND)), None);
    assert_eq!(lease.give(&numbers, 9, 0, None, until), Ok(9), "an expensive call passes on credit");
    assert!(!lease.is_idle(until));
}

#[test]
fn a_question_without_an_answer_is_charged_again() {
    let numbers = limit(100).leased().numbers();
    let mut lease = Lease::new(at(0));
    assert_eq!(lease.give(&numbers, 1, 0, None, at(0)), Ok(6));
    assert!(lease.ask(&numbers, 5, at(0)).is_some());
    lease.failed(at(0));
    assert_eq!(lease.ask(&numbers, 5, at(100 * MILLISECOND)), None, "not at once");
    let again = lease.ask(&numbers, 5, at(250 * MILLISECOND));
    assert_eq!(again, Some(Ask { owed: 6, wanted: 1 }));
    // A late answer to the former question changes nothing twice.
    assert_eq!(lease.granted(&Grant { granted: 1, ..Grant::default() }, at(260 * MILLISECOND)), 1);
    assert_eq!(lease.granted(&Grant { granted: 1, ..Grant::default() }, at(261 * MILLISECOND)), 0);
    assert!(lease.is_idle(at(SECOND)));
}

#[test]
fn case_24_a_jump_of_years_is_survived() {
    let numbers = limit(100).leased().grace(Duration::from_secs(31 * 24 * 60 * 60)).numbers();
    let late = after(epoch(), Duration::from_secs(10 * 365 * 24 * 60 * 60));
    let mut lease = Lease::new(at(SECOND));
    lease.failed(at(SECOND));
    assert_eq!(lease.give(&numbers, 1, 0, Some(late), late), Ok(6));
    assert_eq!(lease.give(&numbers, 1, 0, Some(late), at(0)), Err(after(late, lease.usage.share(&numbers))));
    let grant = Grant { granted: 1, retry_after: Duration::MAX, ..Grant::default() };
    assert!(lease.ask(&numbers, 0, late).is_some());
    assert_eq!(lease.granted(&grant, at(0)), 1);
    assert!(lease.give(&numbers, 1, 0, None, late).is_err());
    assert!(lease.ask(&numbers, 0, late).is_some(), "asked again within a second");
}
