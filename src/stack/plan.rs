//! The linter: what a stack is made of, and what does not work together.

use std::time::Duration;

use crate::{
    call::ConfigError,
    circuit_breaker::{CircuitBreakerConfig, Window},
    fallback::FallbackConfig,
    hedge::HedgeConfig,
    retry::RetryConfig,
    timeout::TimeoutConfig,
};

/// The numbers of all stages that a stack has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    pub(super) fallback: Option<FallbackConfig>,
    pub(super) timeout: Option<TimeoutConfig>,
    pub(super) retry: Option<RetryConfig>,
    pub(super) hedge: Option<HedgeConfig>,
    pub(super) circuit_breaker: Option<CircuitBreakerConfig>,
    pub(super) attempt_timeout: Option<TimeoutConfig>,
}

impl Plan {
    /// Checks each stage by itself, then what they are to each other.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.timeout.map_or(Ok(()), |timeout| timeout.check("timeout"))?;
        self.attempt_timeout.map_or(Ok(()), |timeout| timeout.check("attempt_timeout"))?;
        self.fallback
            .map_or(Ok(()), |fallback| fallback.check().map_err(|error| error.within("fallback")))?;
        self.retry.map_or(Ok(()), |retry| retry.check().map_err(|error| error.within("retry")))?;
        self.hedge.map_or(Ok(()), |hedge| hedge.check().map_err(|error| error.within("hedge")))?;
        self.circuit_breaker
            .map_or(Ok(()), |breaker| breaker.check().map_err(|error| error.within("circuit_breaker")))?;
        RULES.iter().try_for_each(|rule| match rule.stage {
            _ if (rule.holds)(self) => Ok(()),
            Some(stage) => Err(ConfigError::new(rule.field, rule.text).within(stage)),
            None => Err(ConfigError::new(rule.field, rule.text)),
        })
    }

    /// Whether the retry stands in this relation to the time that the whole call has.
    fn retry_and_total(&self, relation: impl Fn(&RetryConfig, Duration) -> bool) -> bool {
        match (self.retry, self.timeout) {
            (Some(retry), Some(total)) => relation(&retry, total.limit()),
            _ => true,
        }
    }

    /// Whether a hedge is sent before this time is over.
    fn hedge_and(&self, limit: Option<TimeoutConfig>) -> bool {
        match (self.hedge.and_then(|hedge| hedge.first_delay()), limit) {
            (Some(delay), Some(limit)) => delay < limit.limit(),
            _ => true,
        }
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

const RULES: [Rule; 8] = [
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
        stage: Some("retry"),
        field: "backoff",
        text: "must begin below timeout, or no attempt could ever follow",
        holds: |plan| plan.retry_and_total(|retry, total| retry.first_delay() < total),
    },
    Rule {
        stage: Some("retry"),
        field: "max_elapsed",
        text: "must be at most timeout, after which the call is over",
        holds: |plan| {
            plan.retry_and_total(|retry, total| retry.longest().is_none_or(|longest| longest <= total))
        },
    },
    Rule {
        stage: Some("hedge"),
        field: "after",
        text: "must begin below timeout, or the call is over before a hedge is sent",
        holds: |plan| plan.hedge_and(plan.timeout),
    },
    Rule {
        stage: Some("hedge"),
        field: "after",
        text: "must begin below attempt_timeout, or the attempt is over before its hedge is sent",
        holds: |plan| plan.hedge_and(plan.attempt_timeout),
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
            fallback: None,
            timeout: Some(TimeoutConfig::new(Duration::from_secs(timeout))),
            retry: None,
            hedge: None,
            circuit_breaker: Some(breaker),
            attempt_timeout: Some(TimeoutConfig::new(Duration::from_secs(attempt))),
        }
    }

    #[test]
    fn a_retry_that_could_never_be_is_refused() {
        let with = |retry| Plan { retry: Some(retry), ..plan(10, 2, CircuitBreakerConfig::new()) };
        let seconds = Duration::from_secs;
        assert_eq!(refused(&with(RetryConfig::new())), None);
        for (retry, expected) in [
            (RetryConfig::fixed(seconds(10)), "retry.backoff must begin below timeout"),
            (RetryConfig::new().max_elapsed(seconds(11)), "retry.max_elapsed must be at most timeout"),
            (RetryConfig::new().max_attempts(0), "retry.max_attempts must be at least 1"),
        ] {
            let error = refused(&with(retry)).expect(expected);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_hedge_that_could_never_be_sent_is_refused() {
        let with = |hedge| Plan { hedge: Some(hedge), ..plan(10, 2, CircuitBreakerConfig::new()) };
        let seconds = Duration::from_secs;
        assert_eq!(refused(&with(HedgeConfig::new())), None);
        assert_eq!(refused(&with(HedgeConfig::on_failure())), None);
        for (hedge, expected) in [
            (HedgeConfig::fixed(seconds(10)), "hedge.after must begin below timeout"),
            (HedgeConfig::fixed(seconds(2)), "hedge.after must begin below attempt_timeout"),
            (HedgeConfig::new().max_hedges(0), "hedge.max_hedges"),
        ] {
            let error = refused(&with(hedge)).expect(expected);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    fn refused(plan: &Plan) -> Option<String> {
        plan.check().err().map(|error| error.to_string())
    }

    #[test]
    fn an_empty_plan_and_a_sensible_one_pass() {
        assert_eq!(refused(&Plan::default()), None);
        assert_eq!(refused(&plan(10, 2, CircuitBreakerConfig::new())), None);
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
            let error = refused(&plan).expect(expected);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_stage_is_checked_by_itself_too() {
        assert_eq!(
            refused(&plan(0, 1, CircuitBreakerConfig::new())).as_deref(),
            Some("timeout must be above 0")
        );
    }
}
