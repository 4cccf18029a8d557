//! The linter: what a stack is made of, and what does not work together.

use std::time::Duration;

use crate::{
    ConfigError,
    circuit_breaker::{CircuitBreakerConfig, Window},
    timeout::TimeoutConfig,
};

/// The numbers of all stages that a stack has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    pub(super) timeout: Option<TimeoutConfig>,
    pub(super) circuit_breaker: Option<CircuitBreakerConfig>,
    pub(super) attempt_timeout: Option<TimeoutConfig>,
}

impl Plan {
    /// Checks each stage by itself, then what they are to each other.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.timeout.map_or(Ok(()), |timeout| timeout.check("timeout"))?;
        self.attempt_timeout.map_or(Ok(()), |timeout| timeout.check("attempt_timeout"))?;
        self.circuit_breaker
            .map_or(Ok(()), |breaker| breaker.check().map_err(|error| error.within("circuit_breaker")))?;
        RULES.iter().try_for_each(|rule| match rule.stage {
            _ if (rule.holds)(self) => Ok(()),
            Some(stage) => Err(ConfigError::new(rule.field, rule.text).within(stage)),
            None => Err(ConfigError::new(rule.field, rule.text)),
        })
    }

    /// Whether two numbers that are both there stand in this relation; what is not there does not disturb.
    fn attempt_and_breaker(&self, relation: impl Fn(Duration, &CircuitBreakerConfig) -> bool) -> bool {
        match (self.attempt_timeout, self.circuit_breaker) {
            (Some(attempt), Some(breaker)) => relation(attempt.limit(), &breaker),
            _ => true,
        }
    }
}

/// Something that must hold between stages.
struct Rule {
    stage: Option<&'static str>,
    field: &'static str,
    text: &'static str,
    holds: fn(&Plan) -> bool,
}

const RULES: [Rule; 4] = [
    Rule {
        stage: None,
        field: "attempt_timeout",
        text: "must be at most timeout, or no attempt could ever run that long",
        holds: |plan| match (plan.attempt_timeout, plan.timeout) {
            (Some(attempt), Some(total)) => attempt.limit() <= total.limit(),
            _ => true,
        },
    },
    Rule {
        stage: Some("circuit_breaker"),
        field: "slow_call",
        text: "must be below attempt_timeout, or every slow call is cut off before it counts as slow",
        holds: |plan| {
            plan.attempt_and_breaker(|attempt, breaker| breaker.slow_over().is_none_or(|slow| slow < attempt))
        },
    },
    Rule {
        stage: Some("circuit_breaker"),
        field: "probe_timeout",
        text: "must be at least attempt_timeout, or a probe loses its place while it may still answer",
        holds: |plan| plan.attempt_and_breaker(|attempt, breaker| breaker.longest_probe() >= attempt),
    },
    // Microsoft's standard pipeline has the same rule: a window shorter than that hardly holds two slow calls.
    Rule {
        stage: Some("circuit_breaker"),
        field: "window",
        text: "must be at least twice attempt_timeout",
        holds: |plan| {
            plan.attempt_and_breaker(|attempt, breaker| match breaker.window_span() {
                Window::Time(span) => span >= attempt.saturating_mul(2),
                Window::Calls(_) => true,
            })
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(timeout: u64, attempt: u64, breaker: CircuitBreakerConfig) -> Plan {
        Plan {
            timeout: Some(TimeoutConfig::new(Duration::from_secs(timeout))),
            circuit_breaker: Some(breaker),
            attempt_timeout: Some(TimeoutConfig::new(Duration::from_secs(attempt))),
        }
    }

    fn refused(plan: Plan) -> Option<String> {
        plan.check().err().map(|error| error.to_string())
    }

    #[test]
    fn an_empty_plan_and_a_sensible_one_pass() {
        assert_eq!(refused(Plan::default()), None);
        assert_eq!(refused(plan(10, 2, CircuitBreakerConfig::new())), None);
    }

    #[test]
    fn what_does_not_work_together_is_refused_by_both_names() {
        let breaker = CircuitBreakerConfig::new();
        let seconds = Duration::from_secs;
        for (plan, expected) in [
            (plan(30, 31, breaker), "attempt_timeout must be at most timeout"),
            (
                plan(30, 2, breaker.slow_call(seconds(2), 0.5)),
                "circuit_breaker.slow_call must be below attempt_timeout",
            ),
            (
                plan(30, 3, breaker.probe_timeout(seconds(2))),
                "circuit_breaker.probe_timeout must be at least attempt_timeout",
            ),
            (
                plan(30, 10, breaker.window(Window::Time(seconds(15)))),
                "circuit_breaker.window must be at least twice attempt_timeout",
            ),
        ] {
            let error = refused(plan).expect(expected);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_stage_is_checked_by_itself_too() {
        assert_eq!(
            refused(plan(0, 1, CircuitBreakerConfig::new())).as_deref(),
            Some("timeout must be above 0")
        );
    }
}
