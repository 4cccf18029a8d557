//! A simulation of cut calls over the machine: attackers who cannot open the circuit of a healthy backend, and dead
//! backends that open it although every caller gives up.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::driven::{Driven, FAILURE, PATIENCE, SEED, SUCCESS};
use crate::{
    circuit_breaker::{
        config::{Abandoned, CircuitBreakerConfig},
        state::{Collected, Ending, FastMode, Lockless, State, Timing},
    },
    rt::clock::epoch,
    telemetry::CircuitState,
};

/// Calls per second, with exponential gaps, and when each of them is cut.
#[derive(Clone, Copy)]
struct Callers {
    rate: f64,
    from: f64,
    cut_after: Option<f64>,
    /// Whether the backend answers these callers, as long as it is alive.
    answered: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Send(usize),
    Cut(Instant),
    Answer(Instant),
}

struct Simulation {
    state: State,
    rng: SmallRng,
    events: BinaryHeap<Reverse<(Instant, Event)>>,
    healthy: u64,
    waits: u64,
}

impl Simulation {
    fn new(policy: Abandoned, seed: u64) -> Self {
        let state = State::new(CircuitBreakerConfig::new().abandoned(policy), PATIENCE, SEED, epoch());
        let (rng, events) = (SmallRng::seed_from_u64(seed), BinaryHeap::new());
        Self { state, rng, events, healthy: 0, waits: 0 }
    }

    fn at(&mut self, instant: Instant, event: Event) {
        self.events.push(Reverse((instant, event)));
    }

    /// Log-normal: a median of 19 ms, and a 99th percentile of 54 ms.
    fn latency(&mut self) -> Duration {
        let normal = (0..12).map(|_| self.rng.random::<f64>()).sum::<f64>() - 6.0;
        Duration::from_secs_f64(0.019 * (0.45 * normal).exp())
    }

    /// The shell's part for a healthy call: counted without the lock where that is allowed, and sampled.
    fn succeed(&mut self, sent: Instant, now: Instant) {
        let lockless = matches!(self.state.fast_mode(), FastMode::Pass(Lockless::Always));
        self.waits += 1;
        if lockless {
            self.healthy += 1;
            if self.state.wants_samples() || self.waits.is_multiple_of(16) {
                self.state.sample_wait(now - sent);
            }
        } else {
            self.record(SUCCESS, now);
        }
    }

    fn record(&mut self, ending: Ending, now: Instant) {
        let healthy = std::mem::take(&mut self.healthy);
        self.state.absorb(Collected { healthy, rejected: 0 }, now);
        let permit = self.state.admit(now).expect("closed until now");
        self.state.record(permit, ending, now);
    }

    /// When the circuit opened, in seconds, if it did within `seconds`. The backend dies at `dead_from`.
    fn run(mut self, callers: &[Callers], dead_from: f64, seconds: f64) -> Option<f64> {
        let instant = |seconds: f64| epoch() + Duration::from_secs_f64(seconds);
        for (index, group) in callers.iter().enumerate() {
            self.at(instant(group.from), Event::Send(index));
        }
        while let Some(Reverse((now, event))) = self.events.pop() {
            if now > instant(seconds) {
                return None;
            }
            match event {
                Event::Send(index) => {
                    let Callers { rate, cut_after, answered, .. } = callers[index];
                    let gap = Duration::from_secs_f64(-self.rng.random::<f64>().max(1e-12).ln() / rate);
                    self.at(now + gap, Event::Send(index));
                    let cut = cut_after.map(|delay| now + Duration::from_secs_f64(delay));
                    let answer = (answered && now < instant(dead_from)).then(|| now + self.latency());
                    match (answer, cut) {
                        (Some(answer), Some(cut)) if cut < answer => self.at(cut, Event::Cut(now)),
                        (Some(answer), _) => self.at(answer, Event::Answer(now)),
                        (None, Some(cut)) => self.at(cut, Event::Cut(now)),
                        (None, None) => {}
                    }
                }
                Event::Answer(sent) => self.succeed(sent, now),
                Event::Cut(sent) => {
                    let timing = Timing { waiting_since: Some(sent), deadline: None };
                    self.record(Ending::Dropped(timing), now);
                }
            }
            if self.state.state() == CircuitState::Open {
                return Some((now - epoch()).as_secs_f64());
            }
        }
        None
    }
}

/// Longer than any simulation.
const NEVER: f64 = 1e6;
const HONEST: [f64; 4] = [1.0, 10.0, 50.0, 500.0];

fn honest(rate: f64) -> Callers {
    Callers { rate, from: 0.0, cut_after: None, answered: true }
}

#[test]
fn case_65_no_attacker_opens_the_circuit_of_a_healthy_backend() {
    println!(
        "circuits opened, of 36: attackers at 20, 200, 2 000 per s hold calls of a slow route for 5, 60, 150 ms"
    );
    for (policy, bound) in [(Abandoned::Failure, 36), (Abandoned::ByTime, 0)] {
        let mut opened = Vec::new();
        for rate in HONEST {
            for (attack, hold) in
                [20.0, 200.0, 2_000.0].into_iter().flat_map(|it| [0.005, 0.06, 0.15].map(|h| (it, h)))
            {
                let attackers = Callers { rate: attack, from: 30.0, cut_after: Some(hold), answered: false };
                let simulation = Simulation::new(policy, SEED);
                if simulation.run(&[honest(rate), attackers], NEVER, 60.0).is_some() {
                    opened.push((rate, attack, hold));
                }
            }
        }
        println!("{policy:?}: {}", opened.len());
        assert!(opened.len() <= bound, "{policy:?}: {opened:?}");
        assert!(policy == Abandoned::ByTime || opened.len() > 20, "the attack is none: {opened:?}");
    }
}

#[test]
fn case_22_a_dead_backend_opens_the_circuit_although_every_caller_gives_up() {
    println!(
        "a dead backend; the callers give up after so many ms; opened after so many s, at 1, 10, 50, 500 calls per s"
    );
    // Half, once and three times the typical latency, and a second.
    for (millis, bounds) in [
        (10, [NEVER, NEVER, 9.0, 9.0]),
        (19, [NEVER, 15.0, 9.0, 9.0]),
        (60, [NEVER, 15.0, 9.0, 9.0]),
        (1_000, [180.0, 15.0, 9.0, 9.0]),
    ] {
        let mut row = Vec::new();
        for (rate, bound) in HONEST.into_iter().zip(bounds) {
            let cut_after = Some(f64::from(millis) / 1_000.0);
            let callers = Callers { cut_after, ..honest(rate) };
            let opened = Simulation::new(Abandoned::ByTime, SEED).run(&[callers], 40.0, 400.0);
            row.push(opened.map_or("never".to_owned(), |at| format!("{:.1}", at - 40.0)));
            assert!(
                bound == NEVER || opened.is_some_and(|at| at - 40.0 <= bound),
                "{millis} ms at {rate}: {row:?}"
            );
        }
        println!("{millis:>5} | {}", row.join(" | "));
    }
}

const MILLI: Duration = Duration::from_millis(1);

fn dropped(since: Instant) -> Ending {
    Ending::Dropped(Timing { waiting_since: Some(since), deadline: None })
}

#[test]
fn case_85_one_caller_that_cuts_each_probe_of_a_slow_route_does_not_reopen_the_circuit() {
    let mut machine = Driven::new(CircuitBreakerConfig::new().open_jitter(0.0));
    for _ in 0..1_000 {
        machine.calls(1, SUCCESS);
        machine.wait(MILLI * 10);
        machine.state.sample_wait(MILLI * 20);
    }
    machine.calls(100, FAILURE);
    machine.now = machine.state.next_timeout().expect("open");
    // Each probe is held for three times the typical latency.
    for _ in 0..15 {
        let (probe, since) = (machine.admit().expect("a probe"), machine.now);
        machine.wait(MILLI * 60);
        assert_eq!(machine.end(probe, dropped(since)), CircuitState::HalfOpen);
    }
    machine.calls(2, SUCCESS);
    assert_eq!(machine.state.state(), CircuitState::Closed);
}

#[test]
fn case_22_a_dead_backend_whose_probes_are_all_cut_is_left_alone_again() {
    let mut machine = Driven::new(CircuitBreakerConfig::new().open_jitter(0.0));
    machine.calls(100, FAILURE);
    machine.now = machine.state.next_timeout().expect("open");
    let (began, mut reached) = (machine.now, 0);
    while machine.state.state() == CircuitState::HalfOpen {
        let since = machine.now;
        let probes: Vec<_> = std::iter::from_fn(|| machine.admit().ok()).collect();
        reached += probes.len();
        machine.wait(PATIENCE);
        for probe in probes {
            machine.end(probe, dropped(since));
            machine.wait(PATIENCE / 20);
        }
        assert!(machine.now < began + 15 * PATIENCE, "{reached} calls reached it");
    }
    assert_eq!(machine.state.state(), CircuitState::Open);
    assert!(reached < 200, "{reached}");
}

#[test]
fn case_65_a_burst_of_answered_calls_before_the_cut_ones_does_not_open_the_circuit() {
    for (honest_gap, hold) in [(1_000_u32, 60_u32), (100, 60), (50, 60), (50, 20), (20, 60), (20, 18)] {
        let mut state = State::new(CircuitBreakerConfig::new(), PATIENCE, SEED, epoch());
        let (mut now, mut healthy) = (epoch(), 0_u64);
        let collect = |state: &mut State, healthy: &mut u64, now: Instant| {
            state.absorb(Collected { healthy: std::mem::take(healthy), rejected: 0 }, now);
        };
        for _ in 0..2_000 {
            now += MILLI * honest_gap;
            healthy += 1;
            state.sample_wait(MILLI * 20);
            if healthy == 20 {
                collect(&mut state, &mut healthy, now);
            }
        }
        let (began, mut next_honest) = (now, now + MILLI * honest_gap);
        while now < began + Duration::from_secs(120) {
            // A hundred answers within 50 ms, and then 120 calls of a slow route that are sent and cut together.
            for n in 0..50 {
                now += MILLI;
                healthy += 2;
                if n % 8 == 0 {
                    state.sample_wait(MILLI * 2);
                }
            }
            collect(&mut state, &mut healthy, now);
            let sent = now + MILLI / 10;
            now = sent + MILLI * hold;
            while next_honest <= now {
                healthy += 1;
                next_honest += MILLI * honest_gap;
            }
            for _ in 0..120 {
                collect(&mut state, &mut healthy, now);
                let permit = state.admit(now).expect("closed until now");
                state.record(permit, dropped(sent), now);
            }
            let after = now - began;
            assert_eq!(
                state.state(),
                CircuitState::Closed,
                "after {after:?}, {honest_gap} ms, held {hold} ms"
            );
        }
    }
}
