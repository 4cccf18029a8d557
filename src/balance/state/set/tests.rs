use super::*;
use crate::{
    balance::{
        config::BuiltIn,
        pick::vectors::{numbers, vectors},
    },
    rt::clock::epoch,
};

const SECOND: Duration = Duration::from_secs(1);

fn state(n: usize, rules: OutlierConfig) -> State<usize, Counts> {
    let config = BalanceConfig::new().strategy(BuiltIn::RoundRobin).outliers(rules);
    let mut state = State::new(config, epoch());
    (0..n).for_each(|key| assert!(state.insert(key, Counts::default(), 1).is_none()));
    state
}

fn eject(state: &mut State<usize, Counts>, key: usize, now: Instant) -> Option<Duration> {
    let at = state.find(&key).expect("it is there");
    match state.eject_at(at, EjectionCause::ConsecutiveFailures, now) {
        Some(Change::Ejected { time, .. }) => Some(time),
        _ => None,
    }
}

fn keys(state: &State<usize, Counts>) -> Vec<usize> {
    state.eligible().members.iter().map(|member| member.key).collect()
}

#[test]
fn times_of_ejections_are_those_of_grpc() {
    let vector = vectors("outlier.time", "ejection time");
    let rules = OutlierConfig::new();
    let times = numbers(&vector["given"]["multiplier"]).into_iter();
    for (times, seconds) in times.zip(numbers(&vector["expect"]["eject_s"])) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
        let time = ejection_time(&rules, times as u32);
        assert!((time.as_secs_f64() - seconds).abs() < 1e-9);
    }
    assert_eq!(ejection_time(&rules, u32::MAX), rules.max_eject_for);
}

#[test]
fn no_more_are_ejected_than_grpc_would() {
    let vector = vectors("outlier.max_pct", "10%");
    let rules = OutlierConfig::new().max_ejected(0.1);
    let counts = numbers(&vector["given"]["n"]).into_iter();
    for (n, most) in counts.zip(numbers(&vector["expect"]["max_ejected"])) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
        let mut state = state(n as usize, rules);
        let ejected =
            (0..state.members.len()).filter(|key| eject(&mut state, *key, epoch()).is_some()).count();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
        let most = most as usize;
        assert_eq!(ejected, most, "of {n}");
    }
}

#[test]
fn the_last_endpoint_is_never_ejected() {
    let mut state = state(3, OutlierConfig::new().max_ejected(1.0));
    assert!(eject(&mut state, 0, epoch()).is_some() && eject(&mut state, 1, epoch()).is_some());
    assert_eq!(eject(&mut state, 2, epoch()), None);
    let _ = state.remove(&0);
    let _ = state.remove(&1);
    assert_eq!(eject(&mut state, 2, epoch()), None, "alone");
}

#[test]
fn case_49_panic_uses_all_and_a_threshold_of_zero_none() {
    let ejected = |n, threshold: f64| {
        let mut state = state(4, OutlierConfig::new().max_ejected(1.0));
        state.config = state.config.panic_threshold(threshold);
        for key in 0..n {
            state.members[key].standing = Standing::Ejected { until: epoch() + SECOND };
        }
        let eligible = state.eligible();
        (eligible.members.len(), eligible.is_panic)
    };
    assert_eq!(ejected(2, 0.5), (2, false), "the threshold itself is no panic");
    assert_eq!(ejected(3, 0.5), (4, true));
    assert_eq!(ejected(4, 0.5), (4, true));
    assert_eq!(ejected(4, 0.0), (0, false));
    let empty = state(0, OutlierConfig::new());
    assert!(empty.eligible().is_empty && !empty.eligible().is_panic);
}

#[test]
fn ejections_in_a_row_last_longer_and_healthy_intervals_take_them_back() {
    let mut state = state(5, OutlierConfig::new());
    let mut now = epoch();
    let returned = |state: &mut State<usize, Counts>, now: &mut Instant, after: u32| {
        *now += after * SECOND;
        let changes = state.advance(|counts| *counts, *now);
        changes.iter().filter(|it| matches!(it, Change::Returned { .. })).count()
    };
    assert_eq!(eject(&mut state, 0, now), Some(30 * SECOND));
    assert_eq!(eject(&mut state, 0, now), None, "it is ejected already");
    assert_eq!(returned(&mut state, &mut now, 29), 0);
    assert_eq!(keys(&state), [1, 2, 3, 4]);
    assert_eq!(returned(&mut state, &mut now, 1), 1);
    assert_eq!(keys(&state), [0, 1, 2, 3, 4]);
    assert_eq!(eject(&mut state, 0, now), Some(60 * SECOND));
    assert_eq!(returned(&mut state, &mut now, 60), 1);
    // This advance ended an interval too, and so do two more.
    for _ in 0..2 {
        assert_eq!(returned(&mut state, &mut now, 10), 0);
    }
    assert_eq!(eject(&mut state, 0, now), Some(30 * SECOND));
}

#[test]
fn case_52_checks_in_a_row_take_an_endpoint_down_and_up_again() {
    let mut state = state(3, OutlierConfig::new());
    let mut check = |key: usize, passed| {
        let at = state.find(&key).expect("it is there");
        state.members[at].it.timed = 1;
        let change = state.checked(|it| it.timed == 1, passed, |passed| if passed { 2 } else { 3 });
        state.members[at].it.timed = 0;
        (change.is_some(), keys(&state).len())
    };
    assert_eq!([(); 2].map(|()| check(1, false)), [(false, 3); 2]);
    assert_eq!(check(1, true), (false, 3), "a success begins the count anew");
    assert_eq!([(); 3].map(|()| check(1, false)), [(false, 3), (false, 3), (true, 2)]);
    assert_eq!(check(1, false), (false, 2));
    assert_eq!([(); 2].map(|()| check(1, true)), [(false, 2), (true, 3)]);
}

#[test]
fn dead_endpoints_do_not_count_as_ejected() {
    let mut state = state(4, OutlierConfig::new().max_ejected(0.3));
    state.members[0].is_down = true;
    assert!(eject(&mut state, 1, epoch()).is_some(), "of three, one may be ejected");
    assert_eq!(eject(&mut state, 2, epoch()), None);
}

#[test]
fn a_weight_of_zero_gets_no_calls_and_does_not_count() {
    let mut state = state(3, OutlierConfig::new());
    assert!(state.weigh(&1, 0) && !state.weigh(&7, 1));
    assert_eq!(keys(&state), [0, 2]);
    (0..3).for_each(|key| assert!(state.weigh(&key, 0)));
    assert!(state.eligible().is_empty);
}

#[test]
fn case_46_an_endpoint_that_comes_again_begins_anew() {
    let mut state = state(3, OutlierConfig::new());
    eject(&mut state, 1, epoch()).expect("it may be ejected");
    let fresh = Counts { succeeded: 7, ..Counts::default() };
    assert_eq!(state.insert(1, fresh, 1), Some(Counts::default()));
    assert_eq!((keys(&state), state.members().len()), (vec![0, 2, 1], 3));
    assert!(state.advance(|counts| *counts, epoch() + 31 * SECOND).is_empty(), "the former one returned");
}

#[test]
fn the_next_timeout_is_the_earliest_one() {
    let mut state = state(3, OutlierConfig::new());
    assert_eq!(state.next_timeout(), Some(epoch() + 10 * SECOND));
    state.advance(|counts| *counts, epoch() + 25 * SECOND);
    eject(&mut state, 1, epoch()).expect("it may be ejected");
    assert_eq!(state.next_timeout(), Some(epoch() + 30 * SECOND));
    state.config = state.config.outliers(OutlierConfig::off());
    state.advance(|counts| *counts, epoch() + 30 * SECOND);
    assert_eq!(state.next_timeout(), Some(epoch() + 35 * SECOND), "one ejection is not taken back");
    state.advance(|counts| *counts, epoch() + 55 * SECOND);
    assert_eq!(state.next_timeout(), None);
}
