//! The rules between stages, as tables.

use super::*;
use crate::wait_queue::WaitQueueConfig;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn plan(timeout: u64, attempt: u64) -> Plan {
    Plan {
        timeout: Some(TimeoutConfig::new(seconds(timeout))),
        attempt_timeout: Some(TimeoutConfig::new(seconds(attempt))),
        ..Plan::default()
    }
}

fn with_retry(retry: RetryConfig) -> Plan {
    Plan { retry: Some(retry), ..plan(10, 2) }
}

fn with_hedge(hedge: HedgeConfig) -> Plan {
    Plan { hedge: Some(hedge), ..plan(10, 2) }
}

fn with_breaker(attempt: u64, breaker: CircuitBreakerConfig) -> Plan {
    Plan { circuit_breaker: Some(breaker), ..plan(60, attempt) }
}

#[test]
fn a_conflict_is_refused_by_both_names() {
    let breaker = CircuitBreakerConfig::new();
    for (plan, expected) in [
        (plan(30, 31), "attempt_timeout must be at most timeout"),
        (with_retry(RetryConfig::fixed(seconds(10))), "retry.backoff must begin below timeout"),
        (
            with_retry(RetryConfig::new().max_elapsed(seconds(11))),
            "retry.max_elapsed must be at most timeout",
        ),
        (with_hedge(HedgeConfig::fixed(seconds(10))), "hedge.after.fixed must be below timeout"),
        (with_hedge(HedgeConfig::fixed(seconds(2))), "hedge.after.fixed must be below attempt_timeout"),
        (with_hedge(HedgeConfig::new().start(seconds(3))), "hedge.start must be below attempt_timeout"),
        (
            with_hedge(HedgeConfig::new().min_delay(seconds(4))),
            "hedge.min_delay must be below attempt_timeout",
        ),
        (
            with_breaker(2, breaker.slow_call(seconds(2), 0.5)),
            "circuit_breaker.slow_call must be below attempt_timeout",
        ),
        (
            with_breaker(3, breaker.probe_timeout(seconds(2))),
            "circuit_breaker.probe_timeout must be at least attempt_timeout",
        ),
        (
            with_breaker(10, breaker.window(Window::Time(seconds(15)))),
            "circuit_breaker.window must be at least twice attempt_timeout",
        ),
    ] {
        let error = plan.checked().expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_number_of_one_stage_is_refused_with_the_name_of_its_stage() {
    for (plan, expected) in [
        (plan(0, 1), "timeout must be above 0"),
        (plan(1, 0), "attempt_timeout must be above 0"),
        (with_retry(RetryConfig::new().max_attempts(0)), "retry.max_attempts must be at least 1"),
        (with_hedge(HedgeConfig::new().max_hedges(0)), "hedge.max_hedges must be at least 1"),
        (
            with_breaker(1, CircuitBreakerConfig::new().min_requests(0)),
            "circuit_breaker.min_requests must be at least 1",
        ),
    ] {
        let error = plan.checked().expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn an_empty_plan_and_a_plan_of_defaults_pass() {
    assert!(Plan::default().checked().is_ok());
    for plan in [
        with_retry(RetryConfig::new()),
        with_hedge(HedgeConfig::new()),
        with_hedge(HedgeConfig::on_failure()),
        with_breaker(2, CircuitBreakerConfig::new()),
    ] {
        assert!(plan.checked().is_ok(), "{plan:?}");
    }
}

#[test]
fn a_default_yields_to_a_chosen_number() {
    let limit = Some(TimeoutConfig::new(Duration::from_millis(20)));
    let short = Plan { timeout: limit, attempt_timeout: limit, ..Plan::default() };
    assert!(Plan { retry: Some(RetryConfig::new()), ..short }.checked().is_ok());
    assert!(Plan { hedge: Some(HedgeConfig::new()), ..short }.checked().is_ok());
    let long = with_breaker(40, CircuitBreakerConfig::new()).checked().expect("the default yields");
    assert_eq!(long.circuit_breaker.map(|breaker| breaker.longest_probe()), Some(seconds(40)));
}

#[test]
fn a_default_limit_yields_to_every_chosen_number() {
    let default = |limit| Some(TimeoutConfig::new(seconds(limit)).yielding());
    let chosen = |limit| Some(TimeoutConfig::new(seconds(limit)));
    let new = CircuitBreakerConfig::new();
    let queue = WaitQueueConfig::new().max_wait(seconds(60));
    let limit = ConcurrencyLimitConfig::new(9).queue(queue);
    let defaults = Plan { timeout: default(30), attempt_timeout: default(5), ..Plan::default() };
    for (plan, timeout, attempt) in [
        (defaults, 30, 5),
        (Plan { timeout: chosen(1), ..defaults }, 1, 1),
        (Plan { attempt_timeout: chosen(40), ..defaults }, 40, 40),
        (Plan { hedge: Some(HedgeConfig::fixed(seconds(40))), ..defaults }, 80, 80),
        (Plan { retry: Some(RetryConfig::fixed(seconds(5))), ..defaults }, 30, 5),
        (Plan { retry: Some(RetryConfig::fixed(seconds(30)).max_delay(seconds(30))), ..defaults }, 60, 5),
        (Plan { retry: Some(RetryConfig::new().max_elapsed(seconds(50))), ..defaults }, 50, 5),
        (Plan { concurrency_limit: Some(limit), ..defaults }, 60, 5),
        (Plan { circuit_breaker: Some(new.slow_call(seconds(6), 0.5)), ..defaults }, 30, 12),
        (Plan { circuit_breaker: Some(new.probe_timeout(seconds(3))), ..defaults }, 30, 3),
        (Plan { circuit_breaker: Some(new.window(Window::Time(seconds(4)))), ..defaults }, 30, 2),
    ] {
        let moved = plan.checked().expect("the default yields");
        let limits = [moved.timeout, moved.attempt_timeout].map(|it| it.map(|it| it.limit()));
        assert_eq!(limits, [timeout, attempt].map(|limit| Some(seconds(limit))), "{plan:?}");
    }
}
