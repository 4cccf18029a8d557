//! Tests of the decision alone.

use std::time::Duration;

use super::*;
use crate::rt::clock::epoch;

fn at(millis: u64) -> Instant {
    epoch() + Duration::from_millis(millis)
}

/// No reserve and no health rule.
fn by_ratio(ratio: f64) -> State {
    State::new(RetryBudgetConfig::new().ratio(ratio).reserve(0).without_health_gate(), epoch())
}

fn retries(state: &mut State, asked: u32) -> u32 {
    let granted = (0..asked).filter_map(|_| state.withdraw().ok()).collect::<Vec<_>>();
    for source in &granted {
        state.spend(*source);
        state.record(None);
    }
    u32::try_from(granted.len()).expect("at most as many as were asked for")
}

#[test]
fn the_ratio_is_exact_whatever_the_fraction() {
    for (ratio, expected) in
        [(0.1, 1_000), (0.5, 5_000), (0.25, 2_500), (0.75, 7_500), (0.99, 9_900), (0.001, 10), (2.0, 20_000)]
    {
        let mut state = by_ratio(ratio);
        state.look(10_000, at(0));
        assert_eq!(retries(&mut state, 30_000), expected, "{ratio}");
    }
}

#[test]
fn the_reserve_is_given_once() {
    let mut state = State::new(RetryBudgetConfig::new().reserve(3), epoch());
    assert_eq!(retries(&mut state, 10), 3);
    state.look(0, at(60_000));
    assert_eq!(state.withdraw(), Err(RejectedBy::Ratio));
    state.look(5, at(60_001));
    assert_eq!(retries(&mut state, 10), 1);
}

#[test]
fn unspent_deposits_refill_the_reserve() {
    let mut state = State::new(RetryBudgetConfig::new().reserve(3).without_health_gate(), epoch());
    assert_eq!(retries(&mut state, 10), 3);
    // One request every 20 s earns less than a retry a minute, and still one every 100 s.
    for n in 1..=15 {
        state.look(1, at(20_000 * n));
    }
    assert_eq!(retries(&mut state, 10), 3 - 1, "the deposits of the last minute are not in the reserve yet");
    state.look(1_000_000, at(400_000));
    state.look(0, at(900_000));
    assert!((state.reserve() - 3.0).abs() < 1e-9);
    state.look(600, at(4_500_000));
    assert_eq!(retries(&mut state, 30), 3 + 2, "ten of the requests came in the last minute");
}

#[test]
fn spent_deposits_do_not_refill_the_reserve() {
    let mut state = State::new(RetryBudgetConfig::new().reserve(10).without_health_gate(), epoch());
    assert_eq!(retries(&mut state, 10), 10);
    state.look(50, at(0));
    state.look(0, at(30_000));
    assert_eq!(retries(&mut state, 20), 10);
    // The requests leave the window, then the retries.
    for n in 31..=120 {
        state.look(0, at(1_000 * n));
    }
    assert!(state.reserve().abs() < 1e-9, "{}", state.reserve());
}

#[test]
fn requests_and_retries_leave_with_the_window() {
    let mut state = by_ratio(0.2);
    state.look(1_000, at(0));
    assert_eq!(retries(&mut state, 150), 150);
    state.look(0, at(59_999));
    assert!((state.balance() - 50.0).abs() < 1e-3);
    state.look(0, at(60_000));
    assert_eq!(state.withdraw(), Err(RejectedBy::Ratio));
}

#[test]
fn an_unspent_withdrawal_is_refunded() {
    let mut state = by_ratio(0.2);
    state.look(5, at(0));
    let source = state.withdraw().expect("there is one");
    assert_eq!(state.withdraw(), Err(RejectedBy::Ratio));
    // However late: a held withdrawal is in no bucket of the window.
    state.look(9, at(90_000));
    state.refund(source);
    assert_eq!(retries(&mut state, 10), 1);
}

#[test]
fn while_the_backend_is_unhealthy_one_retry_in_a_hundred_passes() {
    let mut state = State::new(RetryBudgetConfig::new(), epoch());
    state.look(10_000, at(0));
    state.look(0, at(5_000));
    for _ in 0..1_000 {
        state.record(Some(true));
    }
    assert!((10..=11).contains(&retries(&mut state, 1_000)));
    state.look(0, at(7_000));
    assert!((state.health_gate() - 1.0).abs() < f64::EPSILON, "the failures have left the health window");
}

#[test]
fn between_healthy_and_unhealthy_the_gate_closes_by_degrees() {
    let gate = |failed: u64| {
        let mut state = State::new(RetryBudgetConfig::new(), epoch());
        // With the five successes assumed beforehand, these are 1 000.
        state.look(995 - failed, at(0));
        (0..failed).for_each(|_| state.record(Some(true)));
        format!("{:.2}", state.health_gate())
    };
    assert_eq!(
        [0, 249, 250, 300, 375, 450, 500, 995].map(gate),
        ["1.00", "1.00", "1.00", "0.80", "0.50", "0.20", "0.01", "0.01"]
    );
}

#[test]
fn a_quiet_client_whose_call_fails_twice_gets_two_retries() {
    let mut state = State::new(RetryBudgetConfig::new(), epoch());
    for _ in 0..2 {
        state.record(Some(true));
        assert_eq!(state.withdraw(), Ok(Source::Reserve));
    }
}

#[test]
fn a_request_counts_once_however_many_attempts_it_takes() {
    let mut state = State::new(RetryBudgetConfig::new().ratio(1.0).reserve(2), epoch());
    for _ in 0..2 {
        state.record(Some(false));
        let source = state.withdraw().expect("the first request has deposited one retry");
        state.spend(source);
        state.record(Some(false));
    }
    assert!(state.balance().abs() < 1e-9, "two requests, two retries: {}", state.balance());
    // A retry that has not ended is as little a request.
    let source = state.withdraw().expect("the reserve is untouched");
    assert_eq!(source, Source::Reserve);
    state.spend(source);
    state.look(10, at(1));
    assert!((state.balance() - 9.0).abs() < 1e-9, "{}", state.balance());
}

/// Ten times 0.1, added one by one, are 0.9999999999999999.
#[test]
fn sums_of_tenths_that_make_a_whole_retry_grant_it() {
    let mut state = State::new(RetryBudgetConfig::new().ratio(0.1).reserve(1), epoch());
    assert_eq!(retries(&mut state, 2), 1);
    // The reserve fills by a tenth whenever a request leaves the window.
    for n in 1..=10 {
        state.look(1, at(70_000 * n));
    }
    state.look(0, at(70_000 * 11));
    assert_eq!(retries(&mut state, 2), 1, "{}", state.reserve());
}

/// A state whose health window holds successes enough for any ratio.
fn busy() -> State {
    let mut state = State::new(RetryBudgetConfig::new(), epoch());
    state.look(10_000, at(0));
    state
}

fn fail(state: &mut State, times: u32, now: Instant) {
    state.look(0, now);
    (0..times).for_each(|_| state.record(Some(true)));
}

#[test]
fn five_consecutive_failures_over_100_ms_close_the_gate() {
    let closed = |state: &State| state.health_gate() < 0.5;
    let mut state = busy();
    fail(&mut state, 4, at(10));
    fail(&mut state, 1, at(109));
    assert!(!closed(&state), "not for so long yet");
    fail(&mut state, 1, at(110));
    assert!(closed(&state));
    state.record(Some(false));
    assert!(!closed(&state), "one success opens it");
    fail(&mut state, 4, at(120));
    state.look(0, at(900));
    assert!(!closed(&state), "four are not five");
    state.look(1, at(901));
    fail(&mut state, 3, at(902));
    state.look(0, at(1_100));
    assert!(!closed(&state), "there was a success in between");
}

#[test]
fn a_burst_of_failures_at_one_instant_leaves_the_gate_open() {
    let mut state = busy();
    fail(&mut state, 100, at(10));
    assert_eq!(retries(&mut state, 100), 100);
}

#[test]
fn failures_that_the_health_window_has_forgotten_are_not_consecutive() {
    let mut state = State::new(RetryBudgetConfig::new(), epoch());
    for n in 0..9 {
        fail(&mut state, 1, at(10_000 * n));
        assert!((state.health_gate() - 1.0).abs() < f64::EPSILON);
    }
}

#[test]
fn no_count_overflows() {
    let mut state = by_ratio(10.0);
    state.look(u64::MAX, at(0));
    assert_eq!(retries(&mut state, 5), 5);
}
