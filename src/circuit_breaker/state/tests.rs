//! The machine, event by event.

mod cut_calls;
pub(super) mod driven;
mod open_periods;

use std::time::Duration;

use driven::{ANSWERED, DROPPED, Driven, FAILURE, IGNORED, RATE_LIMITED, SEED, SLOW, SUCCESS, done};

use super::{Collected, Ending, FastMode, Lockless, Override, Permit, Timing};
use crate::{
    call::{ErrorClass, Outcome, Reason},
    circuit_breaker::config::{Abandoned, CircuitBreakerConfig, Window},
    telemetry::{CircuitState, CircuitState as S, EventKind, Trip},
};

const SECOND: Duration = Duration::from_secs(1);
const RAMP: Duration = Duration::from_secs(10);

/// One bad call of two trips it; two of two probes must pass; it ramps.
const CONFIG: CircuitBreakerConfig = CircuitBreakerConfig::new()
    .window(Window::Calls(10))
    .min_requests(2)
    .slow_call(SECOND, 0.5)
    .open_for(Duration::from_secs(5))
    .outage_ratio(0.0)
    .open_jitter(0.0)
    .half_open_probes(2)
    .half_open_successes(2)
    .ramp(RAMP);

/// A call that was dropped after it had waited for longer than the patience of the circuit.
const UNANSWERED: Ending = Ending::Panicked;

/// A machine that reached this state by calls and time, with one healthy call in its window.
fn machine_in(state: CircuitState) -> Driven {
    let mut machine = Driven::new(CONFIG);
    match state {
        S::Closed => {}
        S::Open => machine.calls(2, FAILURE),
        S::HalfOpen => {
            machine.calls(2, FAILURE);
            machine.wait(CONFIG.open_for);
        }
        S::Ramping => {
            machine.calls(2, FAILURE);
            machine.wait(CONFIG.open_for);
            machine.calls(2, SUCCESS);
        }
        S::ForcedOpen => machine.take_over(Override::ForcedOpen),
        S::ForcedClosed => machine.take_over(Override::ForcedClosed),
        S::Disabled => machine.take_over(Override::Disabled),
        S::Shadow => machine.take_over(Override::Shadow),
    }
    assert_eq!(machine.tick(), state);
    if !matches!(state, S::HalfOpen | S::Open) {
        let permit = Permit::free(machine.state.generation());
        machine.end(permit, SUCCESS);
    }
    machine.events.clear();
    machine
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Admit,
    Record(Ending),
    Straggler,
    Timeout,
    TakeOver(Override),
    Update,
}

fn happen(machine: &mut Driven, event: Event) {
    match event {
        Event::Admit => drop(machine.admit()),
        Event::Record(ending) => {
            // A ramp admits by chance, and an open circuit admits no call: a permit of this generation stands in.
            let stand_in = Permit::free(machine.state.generation());
            let permit = machine.admit().unwrap_or(stand_in);
            machine.end(permit, ending);
        }
        Event::Straggler => {
            let before = Permit::free(machine.state.generation().wrapping_sub(1));
            machine.end(before, FAILURE);
        }
        Event::Timeout => {
            machine.wait(Duration::from_secs(60));
            machine.tick();
        }
        Event::TakeOver(to) => machine.take_over(to),
        Event::Update => {
            machine.state.update(CONFIG.failure_rate(0.01).window(Window::Calls(5)), machine.now);
        }
    }
}

#[test]
fn every_state_answers_every_event() {
    use Event::{Admit, Record, Straggler, TakeOver, Timeout, Update};
    // A letter is the state afterwards; "." the same as before, without an event; "!" the same, with one.
    let states =
        [S::Closed, S::Ramping, S::Open, S::HalfOpen, S::ForcedOpen, S::ForcedClosed, S::Disabled, S::Shadow];
    #[rustfmt::skip]
    let table: [(Event, &str); 19] = [
        //                                 C R O H F L D S
        (Admit,                           ". . . . . . . ."),
        (Record(SUCCESS),                 ". . . . . . . ."),
        (Record(ANSWERED),                ". . . . . . . ."),
        (Record(FAILURE),                 "O O . O . . . !"),
        (Record(RATE_LIMITED),                 "O O . O . . . !"),
        (Record(SLOW),                    "O O . O . . . !"),
        (Record(IGNORED),                 ". . . . . . . ."),
        (Record(Ending::Unpolled),        ". . . . . . . ."),
        (Record(DROPPED),                 ". . . . . . . ."),
        (Record(UNANSWERED),              "O O . O . . . !"),
        (Record(Ending::Panicked),        "O O . O . . . !"),
        (Straggler,                       ". . . . . . . ."),
        (Timeout,                         ". C H . . . . ."),
        (TakeOver(Override::Automatic),   "C C C C C C C C"),
        (TakeOver(Override::ForcedOpen),  "F F F F F F F F"),
        (TakeOver(Override::ForcedClosed),"L L L L L L L L"),
        (TakeOver(Override::Disabled),    "D D D D D D D D"),
        (TakeOver(Override::Shadow),      "S S S S S S S S"),
        (Update,                          ". . . . . . . ."),
    ];
    let letter = |letter: &str| "CROHFLDS".find(letter).map(|at| states[at]);
    for (event, cells) in table {
        for (from, cell) in states.into_iter().zip(cells.split(' ')) {
            let mut machine = machine_in(from);
            let generation = machine.state.generation();
            happen(&mut machine, event);
            let to = letter(cell).unwrap_or(from);
            assert_eq!(machine.state.state(), to, "{event:?} in {from}, seed {SEED}");
            match (cell, &machine.events[..]) {
                (".", []) | ("!", [EventKind::CircuitWouldTrip(_)]) => {
                    assert_eq!(machine.state.generation(), generation);
                }
                (_, [EventKind::CircuitChanged(change)]) => {
                    assert_eq!((change.from, change.to, change.generation), (from, to, generation + 1));
                    assert_eq!(machine.state.generation(), generation + 1);
                }
                (_, events) => panic!("{event:?} in {from} told {events:?}"),
            }
        }
    }
}

#[test]
fn every_state_admits_the_right_calls() {
    for (state, admits, reason) in [
        (S::Closed, 5, None),
        (S::Open, 0, Some(Reason::CircuitOpen(Trip::FailureRate { failed: 2, total: 2 }))),
        (S::HalfOpen, 1, Some(Reason::ProbesTaken)),
        (S::ForcedOpen, 0, Some(Reason::CircuitOpen(Trip::ByHand))),
        (S::ForcedClosed, 5, None),
        (S::Disabled, 5, None),
        (S::Shadow, 5, None),
    ] {
        let mut machine = machine_in(state);
        let admitted: Vec<_> = (0..5).map(|_| machine.admit()).collect();
        assert_eq!(admitted.iter().filter(|call| call.is_ok()).count(), admits, "{state}");
        let refusal = admitted.into_iter().find_map(Result::err);
        assert_eq!(refusal.map(|refusal| refusal.reason), reason, "{state}");
        assert_eq!(machine.state.peek(machine.now).map(|refusal| refusal.reason), reason, "{state}");
        let passes = matches!(machine.state.fast_mode(), FastMode::Pass(_));
        assert_eq!(passes, admits == 5, "{state}");
    }
}

#[test]
fn case_14_the_count_window_slides() {
    let mut machine = Driven::new(CircuitBreakerConfig::new().window(Window::Calls(100)).failure_rate(1.0));
    machine.calls(10_000, SUCCESS);
    machine.calls(99, FAILURE);
    assert_eq!(machine.state.state(), S::Closed);
    machine.calls(1, FAILURE);
    assert_eq!(machine.state.state(), S::Open);
    machine.calls(100, FAILURE);
    assert_eq!((machine.events.len(), machine.snapshot().counts.trips), (1, 1));
}

#[test]
fn case_15_the_time_window_is_exact_to_its_buckets_and_survives_idle_gaps() {
    let span = Duration::from_secs(10);
    let config = CircuitBreakerConfig::new().window(Window::Time(span)).min_requests(100);
    let mut machine = Driven::new(config);
    machine.calls(3, FAILURE);
    machine.wait(Duration::from_nanos(9_999_999_999));
    assert_eq!(machine.snapshot().window_failures, 3);
    machine.wait(Duration::from_nanos(1));
    assert_eq!(machine.snapshot().window_calls, 0);
    machine.calls(1, FAILURE);
    // More buckets of a second than a u32 can count.
    machine.wait(SECOND * u32::MAX);
    machine.wait(SECOND * 10);
    assert_eq!(machine.snapshot().window_calls, 0);
    machine.calls(2, FAILURE);
    assert_eq!(machine.snapshot().window_calls, 2);
}

#[test]
fn case_15_a_million_calls_in_the_window_take_no_more_memory_than_none() {
    let mut machine =
        Driven::new(CircuitBreakerConfig::new().window(Window::Time(Duration::from_secs(1_000))));
    for _ in 0..1_000 {
        machine.wait(Duration::from_millis(900));
        machine.state.absorb(Collected { healthy: 999, rejected: 0 }, machine.now);
        machine.calls(1, FAILURE);
    }
    let snapshot = machine.snapshot();
    assert_eq!((snapshot.window_calls, snapshot.window_failures), (1_000_000, 1_000));
    // A time window owns no heap, so the size of the machine does not depend on its content.
    assert!(size_of::<super::State>() < 1_280);
}

#[test]
fn case_17_a_call_of_one_generation_never_moves_another() {
    let mut machine = Driven::new(CONFIG.ramp(Duration::ZERO));
    let early = machine.admit().expect("closed");
    machine.calls(2, FAILURE);
    machine.wait(CONFIG.open_for);
    let first_cycle = machine.admit().expect("a probe");
    machine.end(first_cycle, FAILURE);
    assert_eq!(machine.state.state(), S::Open);
    machine.wait(CONFIG.open_for * 4);
    let second_cycle = machine.admit().expect("a probe");
    // The same place of an earlier cycle has no say in this one, good or bad.
    assert_eq!(first_cycle.probe, second_cycle.probe);
    assert_eq!(machine.end(first_cycle, FAILURE), S::HalfOpen);
    assert_eq!(machine.end(early, FAILURE), S::HalfOpen);
    machine.end(second_cycle, SUCCESS);
    machine.calls(1, SUCCESS);
    assert_eq!(machine.state.state(), S::Closed);
    (0..10).for_each(|_| assert_eq!(machine.end(early, FAILURE), S::Closed));
    let snapshot = machine.snapshot();
    assert_eq!((snapshot.window_calls, snapshot.counts.late), (0, 12));
}

#[test]
fn case_19_a_probe_that_hangs_is_cancelled_or_slow_is_no_recovery() {
    let mut hanging = machine_in(S::HalfOpen);
    let probe = hanging.admit().expect("a probe");
    hanging.wait(CONFIG.probe_timeout);
    assert_eq!(hanging.tick(), S::Open, "its time is over, and it counts as a failure");
    assert_eq!(hanging.end(probe, SUCCESS), S::Open);

    for policy in [Abandoned::Ignore, Abandoned::ByTime] {
        let mut cancelled = machine_in(S::HalfOpen);
        cancelled.state.update(CONFIG.abandoned(policy), cancelled.now);
        for _ in 0..100 {
            assert!(cancelled.call(DROPPED), "the place came back");
        }
        assert_eq!(cancelled.tick(), S::HalfOpen);
    }

    let mut slow = machine_in(S::HalfOpen);
    slow.calls(1, SLOW);
    let trip = Trip::Probes { failed: 1, total: 1 };
    assert_eq!((slow.tick(), slow.snapshot().last_trip), (S::Open, Some(trip)));
}

#[test]
fn case_69_a_probe_that_hung_is_judged_at_its_deadline_whenever_it_is_looked_at() {
    let at_once = |looks: &[u64]| {
        let mut machine = machine_in(S::HalfOpen);
        let _probe = machine.admit().expect("a probe");
        let begin = machine.now;
        for seconds in looks {
            machine.now = begin + SECOND * u32::try_from(*seconds).expect("a few");
            machine.tick();
        }
        (machine.snapshot(), machine.events.len())
    };
    let (seldom, events) = at_once(&[33]);
    assert_eq!((seldom.state, events), (S::Open, 1));
    assert_eq!(seldom.retry_after, Some(SECOND * 2), "open for 5 s from the deadline at 30 s");
    assert_eq!(at_once(&[1, 10, 29, 30, 31, 32, 33]), (seldom, events));
    let (late, events) = at_once(&[600]);
    assert_eq!((late.state, events), (S::HalfOpen, 2), "and both transitions are told");
}

#[test]
fn case_73_an_ignored_probe_gives_its_place_back_and_silence_changes_nothing() {
    let mut machine = machine_in(S::HalfOpen);
    machine.calls(1, IGNORED);
    machine.wait(Duration::from_secs(70));
    assert_eq!(machine.tick(), S::HalfOpen);
    machine.calls(2, SUCCESS);
    assert_eq!(machine.tick(), S::Ramping);
}

#[test]
fn case_85_callers_that_cut_every_probe_do_not_keep_the_others_out() {
    let mut machine = machine_in(S::HalfOpen);
    // Each probe that was cut admits one more call at a time.
    for expected in [1, 2, 4, 8] {
        let probes: Vec<_> = std::iter::from_fn(|| machine.admit().ok()).collect();
        assert_eq!(probes.len(), expected);
        for probe in probes {
            assert_eq!(machine.end(probe, DROPPED), S::HalfOpen);
        }
    }
    machine.calls(2, SUCCESS);
    assert_eq!(machine.tick(), S::Ramping);
}

#[test]
fn a_call_that_the_deadline_ended_is_judged_by_the_time_that_the_backend_had() {
    let cut_after = |waited: Duration, outcome: Outcome, deadline: Option<Duration>| {
        let mut machine = Driven::new(CircuitBreakerConfig::consecutive(1));
        let permit = machine.admit().expect("closed");
        let timing =
            Timing { waiting_since: Some(machine.now), deadline: deadline.map(|at| machine.now + at) };
        machine.wait(waited);
        machine.end(permit, Ending::Done { outcome, slow: false, timing })
    };
    let (short, long) = (Duration::from_millis(1), Duration::from_secs(2));
    let timeout = Outcome::failure(ErrorClass::Timeout);
    for (waited, outcome, deadline, state) in [
        (short, Outcome::DeadlineExceeded, Some(short), S::Closed),
        (long, Outcome::DeadlineExceeded, Some(long), S::Open),
        (long, Outcome::DeadlineExceeded, None, S::Open),
        // The backend knows the deadline too.
        (short, timeout, Some(short), S::Closed),
        (long, timeout, Some(long), S::Open),
        // A timeout of the backend's own making.
        (short, timeout, Some(long), S::Open),
        (short, timeout, None, S::Open),
    ] {
        assert_eq!(
            cut_after(waited, outcome, deadline),
            state,
            "{outcome:?} after {waited:?} of {deadline:?}"
        );
    }
}

#[test]
fn case_71_a_cut_call_above_the_slow_threshold_is_a_slow_call() {
    let mut machine = Driven::new(CONFIG);
    machine.calls(1, SUCCESS);
    let permit = machine.admit().expect("closed");
    let timing = Timing { waiting_since: Some(machine.now), deadline: None };
    machine.wait(SECOND + Duration::from_millis(1));
    // Another call is answered, so this one is no failure.
    machine.calls(1, SUCCESS);
    machine.end(permit, Ending::Dropped(timing));
    let snapshot = machine.snapshot();
    assert_eq!((snapshot.window_calls, snapshot.window_slow, snapshot.window_failures), (3, 1, 0));
}

#[test]
fn a_half_open_circuit_waits_for_rare_callers() {
    let mut machine = machine_in(S::HalfOpen);
    for _ in 0..2 {
        machine.wait(CONFIG.probe_timeout * 6);
        assert!(machine.call(SUCCESS));
    }
    assert_eq!(machine.tick(), S::Ramping);
}

#[test]
fn the_backends_hint_keeps_it_open_for_longer() {
    let mut machine = Driven::new(CONFIG);
    let hint = Duration::from_secs(60);
    let outcome = Outcome::failure(ErrorClass::RateLimit).retry_after(hint);
    machine.calls(2, done(outcome, false));
    assert_eq!(machine.snapshot().retry_after, Some(hint));
    machine.wait(Duration::from_nanos(59_999_999_999));
    let refusal = machine.admit().expect_err("still open");
    assert_eq!(refusal.retry_at, Some(machine.now + Duration::from_nanos(1)));
    machine.wait(Duration::from_nanos(1));
    assert_eq!(machine.tick(), S::HalfOpen);
}

#[test]
fn shadow_tells_when_it_would_have_opened_and_rejects_no_call() {
    let mut machine = machine_in(S::Shadow);
    for _ in 0..1_000 {
        assert!(machine.call(FAILURE));
        machine.wait(Duration::from_millis(20));
    }
    // 20 s: it would have been open for 5 s each time, after 40 ms of calls.
    let told = machine.events.len() as u64;
    assert!(machine.events.iter().all(|event| matches!(event, EventKind::CircuitWouldTrip(_))));
    assert_eq!((told, machine.snapshot().counts.would_trips, machine.snapshot().counts.trips), (4, 4, 0));
}

#[test]
fn an_update_keeps_what_the_window_holds_and_judges_it_by_the_new_numbers() {
    let lenient = CONFIG.failure_rate(1.0).window(Window::Calls(100)).min_requests(100);
    let mut machine = Driven::new(lenient);
    machine.calls(50, SUCCESS);
    machine.calls(10, FAILURE);
    machine.state.update(lenient.window(Window::Time(RAMP)), machine.now);
    assert_eq!((machine.snapshot().window_calls, machine.snapshot().window_failures), (60, 10));
    machine.state.update(lenient.window(Window::Calls(20)), machine.now);
    assert_eq!(
        (machine.snapshot().window_calls, machine.snapshot().window_failures),
        (20, 10),
        "the newest of them"
    );
    machine.state.update(lenient.min_requests(10).failure_rate(0.1), machine.now);
    assert_eq!(
        machine.state.fast_mode(),
        FastMode::Pass(Lockless::Never),
        "the next call opens it, good or bad"
    );
    machine.calls(1, SUCCESS);
    assert_eq!(machine.tick(), S::Open);
}

#[test]
fn case_83_an_update_while_half_open_is_followed_at_once() {
    let config = CircuitBreakerConfig::consecutive(1).open_jitter(0.0);
    let mut machine = Driven::new(config);
    machine.calls(1, FAILURE);
    machine.wait(SECOND);
    machine.calls(1, SUCCESS);
    assert_eq!(machine.tick(), S::HalfOpen, "one of two");
    let event = machine.state.update(config.half_open_probes(1).half_open_successes(1), machine.now);
    assert!(matches!(event, Some(EventKind::CircuitChanged(_))));
    assert_eq!(machine.tick(), S::Closed);
}

#[test]
fn case_80_a_hint_counts_only_from_the_call_that_opens_the_circuit() {
    let hinted = Outcome::failure(ErrorClass::RateLimit).retry_after(SECOND * 60);
    let mut machine = Driven::new(CircuitBreakerConfig::consecutive(1).open_jitter(0.0));
    machine.calls(1, done(hinted, false));
    machine.calls(1, FAILURE);
    assert_eq!(machine.snapshot().retry_after, Some(Duration::from_millis(700)));
}

#[test]
fn a_ramp_admits_a_growing_ratio() {
    let mut machine = machine_in(S::Ramping);
    let ratios = (0..4).map(|_| {
        let admitted = (0..1_000).filter(|_| machine.admit().is_ok()).count();
        machine.wait(RAMP / 4);
        admitted
    });
    for (admitted, expected) in ratios.collect::<Vec<_>>().into_iter().zip([100, 325, 550, 775]) {
        assert!(admitted.abs_diff(expected) < 60, "{admitted}, not about {expected}; seed {SEED}");
    }
    assert_eq!(machine.tick(), S::Closed);
}
