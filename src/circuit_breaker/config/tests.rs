//! The ranges of the numbers.

use super::{check::DAY, *};

fn field(config: CircuitBreakerConfig) -> &'static str {
    config.check().expect_err("it must be refused").field()
}

#[test]
fn the_defaults_are_in_range() {
    assert_eq!(CircuitBreakerConfig::new().check(), Ok(()));
    assert_eq!(CircuitBreakerConfig::consecutive(5).check(), Ok(()));
}

#[test]
fn case_21_every_bad_number_is_refused_by_its_name() {
    let new = CircuitBreakerConfig::new;
    for share in [0.0, -1.0, 1.000_1, f64::NAN, f64::INFINITY] {
        assert_eq!(field(new().failure_rate(share)), "failure_rate");
        assert_eq!(field(new().slow_call(DAY, share)), "slow_call");
    }
    for ratio in [-0.1, 1.1, f64::NAN] {
        assert_eq!(field(new().outage_ratio(ratio)), "outage_ratio");
    }
    for factor in [0.0, 0.99, 101.0, f64::NAN] {
        assert_eq!(field(new().open_multiplier(factor)), "open_multiplier");
    }
    for jitter in [-0.1, 1.1, f64::NAN] {
        assert_eq!(field(new().open_jitter(jitter)), "open_jitter");
    }
    for delay in [Duration::ZERO, Duration::MAX] {
        assert_eq!(field(new().open_for(delay)), "open_for");
        assert_eq!(field(new().backoff_decay_every(delay)), "backoff_decay_every");
        assert_eq!(field(new().probe_timeout(delay)), "probe_timeout");
        assert_eq!(field(new().open_for(delay)), "open_for");
        assert_eq!(field(new().max_open_for(delay)), "max_open_for");
        assert_eq!(field(new().window(Window::Time(delay))), "window");
    }
    assert_eq!(field(new().slow_call(Duration::ZERO, 0.5)), "slow_call");
    assert_eq!(field(new().ramp(Duration::MAX)), "ramp");
    assert_eq!(field(new().max_retry_after(Duration::MAX)), "max_retry_after");
    assert_eq!(field(new().min_requests(0)), "min_requests");
    assert_eq!(field(new().consecutive_failures(0)), "consecutive_failures");
    for calls in [0, u32::MAX] {
        assert_eq!(field(new().window(Window::Calls(calls))), "window");
        assert_eq!(field(new().half_open_probes(calls)), "half_open_probes");
        assert_eq!(field(new().half_open_successes(calls)), "half_open_successes");
    }
}

#[test]
fn the_extremes_that_are_allowed_are_allowed() {
    let config = CircuitBreakerConfig::new()
        .min_requests(u32::MAX)
        .consecutive_failures(u32::MAX)
        .slow_call(Duration::MAX, 1.0)
        .open_for(Duration::from_nanos(1))
        .max_retry_after(Duration::ZERO);
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn a_default_number_of_probes_yields_to_the_chosen_one() {
    let new = CircuitBreakerConfig::new;
    for (config, expected) in [
        (new(), (3, 2)),
        (new().half_open_probes(1), (1, 1)),
        (new().half_open_successes(5), (5, 5)),
        (new().half_open_probes(4).half_open_successes(4), (4, 4)),
    ] {
        assert_eq!((config.probes(), config.check()), (expected, Ok(())));
    }
    assert_eq!(field(new().half_open_probes(4).half_open_successes(5)), "half_open_successes");
}
