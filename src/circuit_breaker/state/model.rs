//! The machine beside a naive model, which keeps every sample and recounts them every time.

use std::time::Duration;

use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{
    Collected, Ending, FastMode, Lockless, Override, Permit,
    tests::driven::{ANSWERED, DROPPED, Driven, FAILURE, IGNORED, RATE_LIMITED, SLOW, SUCCESS},
};
use crate::{
    circuit_breaker::config::{Abandoned, CircuitBreakerConfig, Window},
    rt::clock::epoch,
    telemetry::CircuitState as S,
};

mod naive;

use naive::Naive;

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(Duration),
    Call(Ending),
    Begin,
    End(usize, Ending),
    TakeOver(Override),
    /// Healthy calls that are counted without the lock.
    Lockless(u8),
    Look,
}

fn run(config: CircuitBreakerConfig, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut machine = Driven::new(config);
    let mut model = Naive::new(config, epoch());
    let mut out: Vec<(Permit, naive::Ticket)> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        match *step {
            Step::Wait(delay) => machine.wait(delay),
            Step::Call(_) | Step::Begin => {
                // The draw of a ramp, known beforehand.
                let dice = || SmallRng::seed_from_u64(at as u64);
                let draw = dice().random::<f64>();
                machine.state.rng = dice();
                let (permit, ticket) = (machine.admit(), model.admit(draw, machine.now));
                prop_assert_eq!(permit.is_ok(), ticket.is_some(), "admitted at step {}", at);
                match (permit, ticket, *step) {
                    (Ok(permit), Some(ticket), Step::Call(ending)) => {
                        machine.end(permit, ending);
                        model.end(ticket, ending, machine.now);
                    }
                    (Ok(permit), Some(ticket), _) => out.push((permit, ticket)),
                    _ => {}
                }
            }
            Step::End(nth, ending) if !out.is_empty() => {
                let (permit, ticket) = out.swap_remove(nth % out.len());
                machine.end(permit, ending);
                model.end(ticket, ending, machine.now);
            }
            Step::TakeOver(to) => {
                machine.take_over(to);
                model.take_over(to, machine.now);
            }
            Step::Lockless(count) => {
                machine.tick();
                model.tick(machine.now);
                let lockless = match machine.state.fast_mode() {
                    FastMode::Pass(Lockless::Always) => true,
                    FastMode::Pass(Lockless::Until(end)) => machine.now < end,
                    _ => false,
                };
                if lockless {
                    machine.state.absorb(Collected { healthy: count.into(), rejected: 0 }, machine.now);
                    for _ in 0..count {
                        let ticket = model.admit(0.0, machine.now).expect("a free gate is free");
                        model.end(ticket, SUCCESS, machine.now);
                    }
                }
            }
            Step::End(..) | Step::Look => {}
        }
        machine.tick();
        model.tick(machine.now);
        prop_assert_eq!(machine.state.state(), model.state, "after step {}", at);
        prop_assert_eq!(machine.state.generation(), model.generation, "after step {}", at);
        prop_assert_eq!(machine.state.next_timeout().is_some_and(|at| at <= machine.now), false);
        if matches!(step, Step::Look) {
            let snapshot = machine.snapshot();
            let seen = (snapshot.window_calls, snapshot.window_failures, snapshot.window_slow);
            prop_assert_eq!(seen, model.tally(machine.now), "after step {}", at);
            prop_assert_eq!(snapshot.consecutive_failures, model.consecutive, "after step {}", at);
            prop_assert_eq!(snapshot.retry_after, model.until.map(|until| until - machine.now));
        }
    }
    Ok(())
}

/// Any steps, and then a healthy backend that takes `latency`, called every `gap`: the state in which the circuit ends.
fn recover(config: CircuitBreakerConfig, steps: &[Step], latency: Duration, gap: Duration) -> S {
    let mut machine = Driven::new(config);
    for step in steps {
        match *step {
            Step::Wait(delay) => machine.wait(delay),
            // Never ended: the call hangs.
            Step::Begin => drop(machine.admit()),
            Step::Call(ending) | Step::End(_, ending) => drop(machine.call(ending)),
            _ => {}
        }
    }
    machine.calls(100, FAILURE);
    for _ in 0..(10 * config.half_open_probes + 100) {
        machine.wait(gap);
        match machine.admit() {
            Ok(permit) => {
                machine.wait(latency);
                machine.end(permit, SUCCESS);
            }
            // Calls go on coming; the calls that are sure to be rejected are left out.
            Err(_) => machine.now = machine.state.next_timeout().unwrap_or(machine.now).max(machine.now),
        }
        if machine.tick() == S::Closed && machine.now > epoch() + gap {
            return S::Closed;
        }
    }
    machine.state.state()
}

proptest! {
    #[test]
    fn it_decides_as_its_naive_model_does(config in configs(), steps in prop::collection::vec(steps(), 1..150)) {
        run(config, &steps)?;
    }

    #[test]
    fn case_20_half_open_never_wedges(
        config in configs(),
        steps in prop::collection::vec(steps(), 0..60),
        latency in 0.0..1.0,
        gap in prop_oneof![millis(1..100), millis(1..10_000), millis(1..600_000)],
    ) {
        let slow_over = config.slow_over().unwrap_or(Duration::MAX);
        let latency = config.probe_timeout.min(slow_over).mul_f64(latency);
        prop_assert_eq!(recover(config, &steps, latency, gap), S::Closed);
    }
}

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> + Clone {
    range.prop_map(Duration::from_millis)
}

fn endings() -> impl Strategy<Value = Ending> {
    prop_oneof![
        3 => Just(SUCCESS),
        4 => Just(FAILURE),
        1 => Just(SLOW),
        1 => Just(ANSWERED),
        1 => Just(RATE_LIMITED),
        1 => Just(IGNORED),
        1 => Just(DROPPED),
        1 => Just(Ending::Panicked),
        1 => Just(Ending::Unpolled),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let overrides = prop_oneof![
        3 => Just(Override::Automatic),
        1 => Just(Override::ForcedOpen),
        1 => Just(Override::ForcedClosed),
        1 => Just(Override::Disabled),
        1 => Just(Override::Shadow),
    ];
    prop_oneof![
        4 => millis(0..400).prop_map(Step::Wait),
        2 => millis(0..8_000).prop_map(Step::Wait),
        16 => endings().prop_map(Step::Call),
        4 => Just(Step::Begin),
        4 => (any::<usize>(), endings()).prop_map(|(nth, ending)| Step::End(nth, ending)),
        1 => overrides.prop_map(Step::TakeOver),
        2 => any::<u8>().prop_map(Step::Lockless),
        4 => Just(Step::Look),
    ]
}

fn configs() -> impl Strategy<Value = CircuitBreakerConfig> {
    let window = prop_oneof![(1_u32..20).prop_map(Window::Calls), millis(10..5_000).prop_map(Window::Time)];
    let ratio = prop_oneof![Just(0.25), Just(0.5), Just(1.0)];
    let trips = (
        window,
        1_u32..8,
        prop::option::weighted(0.8, ratio.clone()),
        prop::option::of(1_u32..5),
        prop::option::of((millis(1..2_000), ratio)),
    );
    let periods = (
        millis(1..5_000),
        prop_oneof![Just(1.0), Just(2.0)],
        prop_oneof![Just(0.0), Just(1.0 / 6.0), Just(1.0)],
        millis(0..20_000),
        millis(1..5_000),
    );
    let probes = (1_u32..6, any::<u32>(), millis(1..5_000));
    let policy = prop_oneof![Just(Abandoned::ByTime), Just(Abandoned::Failure), Just(Abandoned::Ignore)];
    let ramp = prop_oneof![Just(Duration::ZERO), millis(1..5_000)];
    (trips, periods, probes, policy, ramp).prop_map(|(trips, periods, probes, policy, ramp)| {
        let (window, min_requests, rate, consecutive, slow) = trips;
        let (open_for, multiplier, outage_ratio, more, decay) = periods;
        let (count, needed, timeout) = probes;
        let mut config = CircuitBreakerConfig::new()
            .window(window)
            .min_requests(min_requests)
            .open_for(open_for)
            .open_multiplier(multiplier)
            .outage_ratio(outage_ratio)
            .max_open_for(open_for + more)
            .backoff_decay_every(decay)
            .open_jitter(0.0)
            .half_open_probes(count)
            .half_open_successes(1 + needed % count)
            .probe_timeout(timeout)
            .ramp(ramp)
            .abandoned(policy);
        config.failure_rate = rate;
        config.consecutive_failures = consecutive;
        slow.map_or(config, |(over, ratio)| config.slow_call(over, ratio))
    })
}
