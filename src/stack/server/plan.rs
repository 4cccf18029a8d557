//! The linter of a server stack: the numbers of all stages, and the rules between them.

use std::time::Duration;

use crate::{
    call::ConfigError,
    concurrency_limit::ConcurrencyLimitConfig,
    drain::DrainConfig,
    rate_limit::RateLimitConfig,
    stack::plan::{above, at_most, below, check},
    timeout::TimeoutConfig,
};

/// The numbers of all stages that a server stack has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ServerPlan {
    pub(super) drain: Option<DrainConfig>,
    pub(super) rate_limit: Option<RateLimitConfig>,
    pub(super) concurrency_limit: Option<ConcurrencyLimitConfig>,
    pub(super) timeout: Option<TimeoutConfig>,
    /// Whether the rate limit has state per key.
    pub(super) is_rate_keyed: bool,
}

impl ServerPlan {
    /// Adapts defaults to the chosen numbers, then checks each stage and the rules between stages.
    pub(super) fn checked(mut self) -> Result<Self, ConfigError> {
        self.yield_defaults();
        check(self.drain, "drain", DrainConfig::check)?;
        check(self.rate_limit, "rate_limit", RateLimitConfig::check)?;
        check(self.concurrency_limit, "concurrency_limit", ConcurrencyLimitConfig::check)?;
        self.timeout.map_or(Ok(()), |timeout| timeout.check("timeout"))?;
        self.check_together()?;
        Ok(self)
    }

    /// Moves each default that conflicts with a chosen number: the timeout, then the limit of the drain.
    fn yield_defaults(&mut self) {
        let most = self.chosen_drain();
        let (in_queues, chosen) = (sum([self.rate_wait(), self.limit_wait()]), self.chosen_waits());
        if let Some(timeout) = &mut self.timeout
            && timeout.yields()
        {
            let limit = above(timeout.limit(), chosen);
            let most = most.map(|most| most.saturating_sub(sum(chosen))).filter(|most| !most.is_zero());
            *timeout = TimeoutConfig::new(most.map_or(limit, |most| limit.min(most)));
        }
        let longest =
            in_queues.saturating_add(self.timeout.map_or(Duration::ZERO, |timeout| timeout.limit()));
        if let Some(drain) = &mut self.drain
            && most.is_none()
            && longest > drain.longest_wait()
        {
            *drain = drain.limit(longest);
        }
    }

    /// The rules between stages. Each error names both fields.
    fn check_together(&self) -> Result<(), ConfigError> {
        let timeout = self.timeout.map(|timeout| timeout.limit());
        let [rate_wait, limit_wait] = self.chosen_waits();
        let rule = |holds, stage, field, text| {
            ConfigError::check(holds, field, text).map_err(|error| error.within(stage))
        };
        let waits = self.is_rate_keyed && self.rate_limit.is_some_and(|limit| limit.may_wait());
        let text = "must be absent: a rate limit per key rejects at once";
        rule(!waits, "rate_limit", "queue", text)?;
        let adapts = self.is_rate_keyed && self.rate_limit.is_some_and(|limit| limit.is_adaptive());
        let text = "must be absent: all keys of a rate limit share one rate";
        rule(!adapts, "rate_limit", "adaptive", text)?;
        let text = "must be below timeout, or a call waits longer than it may run";
        rule(below(rate_wait, timeout), "rate_limit", "queue.max_wait", text)?;
        rule(below(limit_wait, timeout), "concurrency_limit", "queue.max_wait", text)?;
        let longest = sum([rate_wait, limit_wait]).saturating_add(timeout.unwrap_or_default());
        let text =
            "must be at least timeout and the max_wait of the limits together, or a drain cuts calls off";
        rule(at_most(Some(longest), self.chosen_drain()), "drain", "limit", text)
    }

    fn chosen_drain(&self) -> Option<Duration> {
        self.drain?.chosen_limit()
    }

    /// The longest waits of the rate limit and of the concurrency limit, if they are not the defaults.
    ///
    /// A default wait is no reason for a refusal: few calls wait that long.
    fn chosen_waits(&self) -> [Option<Duration>; 2] {
        [
            self.rate_limit.and_then(|limit| limit.chosen_wait()),
            self.concurrency_limit.and_then(|limit| limit.chosen_wait()),
        ]
    }

    fn rate_wait(&self) -> Option<Duration> {
        self.rate_limit?.longest_wait()
    }

    fn limit_wait(&self) -> Option<Duration> {
        self.concurrency_limit?.longest_wait()
    }
}

fn sum(waits: [Option<Duration>; 2]) -> Duration {
    waits.into_iter().flatten().fold(Duration::ZERO, Duration::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{rate_limit::adaptive::AdaptiveRateConfig, wait_queue::WaitQueueConfig};

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn plan(drain: u64, timeout: u64) -> ServerPlan {
        ServerPlan {
            drain: Some(DrainConfig::new().limit(seconds(drain))),
            timeout: Some(TimeoutConfig::new(seconds(timeout))),
            ..ServerPlan::default()
        }
    }

    fn waiting(max_wait: u64) -> ConcurrencyLimitConfig {
        ConcurrencyLimitConfig::new(1).queue(WaitQueueConfig::new().max_wait(seconds(max_wait)))
    }

    #[test]
    fn a_conflict_is_refused_by_both_names() {
        let waits = Some(RateLimitConfig::per_second(1).max_wait(seconds(5)));
        let adapts = Some(RateLimitConfig::per_second(9).adaptive(AdaptiveRateConfig::new()));
        for (plan, expected) in [
            (plan(4, 5), "drain.limit must be at least timeout"),
            (plan(25, 60), "drain.limit must be at least timeout"),
            (
                ServerPlan { concurrency_limit: Some(waiting(4)), ..plan(8, 5) },
                "drain.limit must be at least timeout and the max_wait",
            ),
            (
                ServerPlan { concurrency_limit: Some(waiting(5)), ..plan(20, 5) },
                "concurrency_limit.queue.max_wait must be below timeout",
            ),
            (
                ServerPlan { rate_limit: waits, ..plan(20, 5) },
                "rate_limit.queue.max_wait must be below timeout",
            ),
            (
                ServerPlan { rate_limit: waits, is_rate_keyed: true, ..plan(20, 6) },
                "rate_limit.queue must be absent",
            ),
            (
                ServerPlan { rate_limit: adapts, is_rate_keyed: true, ..plan(20, 6) },
                "rate_limit.adaptive must be absent",
            ),
        ] {
            let error = plan.checked().expect_err(expected).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_number_of_one_stage_is_refused_with_the_name_of_its_stage() {
        let new = ServerPlan::default;
        for (plan, expected) in [
            (plan(0, 1), "drain.limit must be above 0"),
            (plan(1, 0), "timeout must be above 0"),
            (
                ServerPlan { rate_limit: Some(RateLimitConfig::per_second(0)), ..new() },
                "rate_limit.per_second must be",
            ),
            (
                ServerPlan { concurrency_limit: Some(ConcurrencyLimitConfig::new(0)), ..new() },
                "concurrency_limit.limit must be",
            ),
        ] {
            let error = plan.checked().expect_err(expected).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_default_yields_to_every_chosen_number() {
        let (default, chosen) = (
            |limit| Some(TimeoutConfig::new(seconds(limit)).yielding()),
            |limit| Some(TimeoutConfig::new(seconds(limit))),
        );
        let drain = Some(DrainConfig::new());
        let limit = Some(ConcurrencyLimitConfig::new(1));
        for (plan, drain, timeout) in [
            (ServerPlan { drain, timeout: chosen(5), ..ServerPlan::default() }, 25, 5),
            (ServerPlan { drain, timeout: chosen(60), ..ServerPlan::default() }, 60, 60),
            (
                ServerPlan { drain, timeout: chosen(60), concurrency_limit: limit, ..ServerPlan::default() },
                61,
                60,
            ),
            (ServerPlan { timeout: default(30), ..plan(10, 1) }, 10, 10),
            (ServerPlan { timeout: default(30), concurrency_limit: Some(waiting(4)), ..plan(10, 1) }, 10, 6),
            (
                ServerPlan {
                    drain,
                    timeout: default(5),
                    concurrency_limit: Some(waiting(8)),
                    ..ServerPlan::default()
                },
                25,
                16,
            ),
            (ServerPlan { concurrency_limit: limit, ..plan(5, 5) }, 5, 5),
        ] {
            let moved = plan.checked().expect("the default yields");
            let limits = (moved.drain.map(|it| it.longest_wait()), moved.timeout.map(|it| it.limit()));
            assert_eq!(limits, (Some(seconds(drain)), Some(seconds(timeout))), "{plan:?}");
        }
    }

    #[test]
    fn the_longest_times_do_not_overflow() {
        let longest = plan(u64::MAX, u64::MAX);
        assert!(ServerPlan { concurrency_limit: Some(waiting(80_000)), ..longest }.checked().is_err());
        assert!(longest.checked().is_ok() && ServerPlan::default().checked().is_ok());
    }
}
