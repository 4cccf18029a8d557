//! The linter: the numbers of all stages, and the rules between them.

use std::{any::TypeId, time::Duration};

use crate::{
    call::ConfigError,
    circuit_breaker::{CircuitBreakerConfig, Window},
    concurrency_limit::ConcurrencyLimitConfig,
    fallback::FallbackConfig,
    hedge::HedgeConfig,
    rate_limit::RateLimitConfig,
    retry::RetryConfig,
    timeout::TimeoutConfig,
};

/// The numbers of all stages that a stack has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plan {
    pub(super) fallback: Option<FallbackConfig>,
    pub(super) timeout: Option<TimeoutConfig>,
    pub(super) rate_limit: Option<RateLimitConfig>,
    pub(super) concurrency_limit: Option<ConcurrencyLimitConfig>,
    pub(super) retry: Option<RetryConfig>,
    pub(super) hedge: Option<HedgeConfig>,
    pub(super) pacing: Option<RateLimitConfig>,
    pub(super) circuit_breaker: Option<CircuitBreakerConfig>,
    pub(super) attempt_timeout: Option<TimeoutConfig>,
    pub(super) keys: Keys,
}

/// The keys of the stages that have state per key.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Keys {
    pub(super) rate_limit: Option<StageKey>,
    pub(super) pacing: Option<StageKey>,
    pub(super) retry: Option<StageKey>,
    pub(super) hedge: Option<StageKey>,
    pub(super) circuit_breaker: Option<StageKey>,
}

/// The key of a stage with [state per key](super::PerKey). Part of a [`Stage`](super::Stage).
#[derive(Clone, Copy, Debug)]
pub struct StageKey {
    pub(super) of: TypeId,
    pub(super) max_keys: usize,
}

impl Plan {
    /// Adapts defaults to the chosen numbers, then checks each stage and the rules between stages.
    pub(super) fn checked(mut self) -> Result<Self, ConfigError> {
        self.yield_defaults();
        check(self.fallback, "fallback", FallbackConfig::check)?;
        self.timeout.map_or(Ok(()), |timeout| timeout.check("timeout"))?;
        check(self.rate_limit, "rate_limit", RateLimitConfig::check)?;
        check(self.concurrency_limit, "concurrency_limit", ConcurrencyLimitConfig::check)?;
        check(self.retry, "retry", RetryConfig::check)?;
        check(self.hedge, "hedge", HedgeConfig::check)?;
        check(self.pacing, "pacing", RateLimitConfig::check)?;
        check(self.circuit_breaker, "circuit_breaker", CircuitBreakerConfig::check)?;
        self.attempt_timeout.map_or(Ok(()), |timeout| timeout.check("attempt_timeout"))?;
        self.check_keys()?;
        self.check_together()?;
        Ok(self)
    }

    /// Moves each default that conflicts with a chosen number: the attempt timeout, then the timeout, then the probe's.
    fn yield_defaults(&mut self) {
        let (hedge, slow) = (self.hedge_delay().map(|(_, delay)| delay), self.slow());
        let chosen = |timeout: Option<TimeoutConfig>| timeout.filter(|it| !it.yields()).map(|it| it.limit());
        if let Some(attempt) = &mut self.attempt_timeout
            && attempt.yields()
        {
            let probe = self.circuit_breaker.map(|breaker| breaker.longest_probe());
            let probe = probe.filter(|probe| *probe != CircuitBreakerConfig::new().longest_probe());
            let window = self.circuit_breaker.and_then(window).map(|window| window / 2);
            let limit = above(attempt.limit(), [hedge, slow]);
            let most = [chosen(self.timeout), probe, window].into_iter().flatten().min();
            *attempt = TimeoutConfig::new(most.map_or(limit, |most| limit.min(most)));
        }
        let (attempt, max_elapsed) =
            (self.attempt_timeout.map(|attempt| attempt.limit()), self.max_elapsed());
        let backoff = self.backoff();
        let longest_wait = self.waits().into_iter().filter_map(|(_, wait)| wait).max();
        if let Some(timeout) = &mut self.timeout
            && timeout.yields()
        {
            let limit = above(timeout.limit(), [hedge, backoff]);
            let least = [attempt, max_elapsed, longest_wait].into_iter().flatten().max();
            *timeout = TimeoutConfig::new(least.map_or(limit, |least| limit.max(least)));
        }
        if let (Some(breaker), Some(attempt)) = (&mut self.circuit_breaker, attempt)
            && breaker.longest_probe() == CircuitBreakerConfig::new().longest_probe()
        {
            *breaker = breaker.probe_timeout(breaker.longest_probe().max(attempt));
        }
    }

    /// A rate limit per key has no queue, and the stages inside the retry that judge the backend share its key.
    fn check_keys(&self) -> Result<(), ConfigError> {
        let of = |key: Option<StageKey>| key.map(|key| key.of);
        let Keys { rate_limit, pacing, retry, hedge, circuit_breaker } = self.keys;
        let waits = |limit: Option<RateLimitConfig>| limit.is_some_and(|limit| limit.may_wait());
        let text = "must be absent, because a limit per key rejects at once";
        for (limit, key, stage) in
            [(self.rate_limit, rate_limit, "rate_limit"), (self.pacing, pacing, "pacing")]
        {
            let holds = key.is_none() || !waits(limit);
            ConfigError::check(holds, "queue", text).map_err(|error| error.within(stage))?;
            let holds = key.is_none() || !limit.is_some_and(|limit| limit.is_adaptive());
            let text = "must be absent, because all keys of a limit share one rate";
            ConfigError::check(holds, "adaptive", text).map_err(|error| error.within(stage))?;
        }
        let (retry, hedge, breaker) = (of(retry), of(hedge), of(circuit_breaker));
        // The retry would look at no circuit, and replace the failure that opens a circuit by a rejection.
        let text = "must have the key of circuit_breaker: add per_authority() or per_key(..)";
        ConfigError::check(breaker.is_none() || self.retry.is_none() || retry == breaker, "retry", text)?;
        // One slow or dead host would delay and use up the hedges of all others.
        ConfigError::check(breaker.is_none() || self.hedge.is_none() || hedge == breaker, "hedge", text)?;
        let alike = self.retry.is_none() || self.hedge.is_none() || retry == hedge;
        // Retry and hedge would not share the budget of a host.
        let text = "must have the key of hedge: add per_authority() or per_key(..)";
        ConfigError::check(alike || retry.is_some(), "retry", text)?;
        let text = "must have the key of retry: add per_authority() or per_key(..)";
        ConfigError::check(alike, "hedge", text)
    }

    /// The rules between stages. Each error names both fields.
    fn check_together(&self) -> Result<(), ConfigError> {
        let total = self.timeout.map(|timeout| timeout.limit());
        let attempt = self.attempt_timeout.map(|timeout| timeout.limit());
        let (backoff, max_elapsed, slow) = (self.backoff(), self.max_elapsed(), self.slow());
        let (hedge_key, hedge) = self.hedge_delay().unzip();
        let hedge_key = hedge_key.unwrap_or_default();
        let probe = self.circuit_breaker.map(|breaker| breaker.longest_probe());
        let window = self.circuit_breaker.and_then(window);
        let two_attempts = attempt.map(|attempt| attempt.saturating_mul(2));

        let rule = |holds, stage, field, text| {
            ConfigError::check(holds, field, text).map_err(|error| error.within(stage))
        };
        let text = "must be at most timeout, which ends every attempt";
        ConfigError::check(at_most(attempt, total), "attempt_timeout", text)?;
        let text = "must be at most timeout, which ends the wait";
        let waits = self.waits();
        for (stage, wait) in waits {
            rule(at_most(wait, total), stage, "queue.max_wait", text)?;
        }
        let [.., (_, pacing)] = waits;
        let text = "must be below retry.max_elapsed, or no attempt follows a wait";
        rule(below(pacing, max_elapsed), "pacing", "queue.max_wait", text)?;
        let fixed = hedge.filter(|_| hedge_key == "after.fixed");
        let text = "must be at most hedge.after.fixed, or a call that waits for its turn is hedged";
        rule(at_most(pacing, fixed), "pacing", "queue.max_wait", text)?;
        let text = "must begin below timeout, or no attempt follows the first";
        rule(below(backoff, total), "retry", "backoff", text)?;
        let text = "must be at most timeout, which ends the call";
        rule(at_most(max_elapsed, total), "retry", "max_elapsed", text)?;
        let text = "must be below timeout, which ends the call before a hedge";
        rule(below(hedge, total), "hedge", hedge_key, text)?;
        let text = "must be below attempt_timeout, which ends the attempt before its hedge";
        rule(below(hedge, attempt), "hedge", hedge_key, text)?;
        let text = "must be below attempt_timeout, which ends an attempt before it is slow";
        rule(below(slow, attempt), "circuit_breaker", "slow_call", text)?;
        let text = "must be at least attempt_timeout, or a probe loses its place before it ends";
        rule(at_most(attempt, probe), "circuit_breaker", "probe_timeout", text)?;
        // Microsoft's standard pipeline has this rule: a shorter window holds too few slow calls.
        let text = "must be at least twice attempt_timeout";
        rule(at_most(two_attempts, window), "circuit_breaker", "window", text)
    }

    /// The first delay of the retry, if it is chosen. The default is no reason for a refusal: with jitter, an attempt may
    /// still follow.
    fn backoff(&self) -> Option<Duration> {
        let first = self.retry?.first_delay();
        (first != RetryConfig::new().first_delay()).then_some(first)
    }

    /// The longest wait of each limit, if it is chosen.
    fn waits(&self) -> [(&'static str, Option<Duration>); 3] {
        let of_rate = |limit: Option<RateLimitConfig>| limit?.chosen_wait();
        [
            ("rate_limit", of_rate(self.rate_limit)),
            ("concurrency_limit", self.concurrency_limit.and_then(|limit| limit.chosen_wait())),
            ("pacing", of_rate(self.pacing)),
        ]
    }

    fn max_elapsed(&self) -> Option<Duration> {
        self.retry?.longest()
    }

    /// The delay before the first hedge, and its key, if it is chosen.
    fn hedge_delay(&self) -> Option<(&'static str, Duration)> {
        self.hedge?.chosen_delay()
    }

    fn slow(&self) -> Option<Duration> {
        self.circuit_breaker?.slow_over()
    }
}

fn window(breaker: CircuitBreakerConfig) -> Option<Duration> {
    match breaker.window_span() {
        Window::Time(span) => Some(span),
        Window::Calls(_) => None,
    }
}

/// This default limit, or twice the longest of the chosen numbers that it is not above.
pub(super) fn above(limit: Duration, chosen: [Option<Duration>; 2]) -> Duration {
    let longest = chosen.into_iter().flatten().filter(|delay| *delay >= limit).max();
    longest.map_or(limit, |delay| delay.saturating_mul(2))
}

pub(super) fn check<T>(
    config: Option<T>,
    stage: &'static str,
    check: impl FnOnce(&T) -> Result<(), ConfigError>,
) -> Result<(), ConfigError> {
    config.map_or(Ok(()), |config| check(&config).map_err(|error| error.within(stage)))
}

/// Whether `a` is below `b`; true if one of them is missing.
pub(super) fn below(a: Option<Duration>, b: Option<Duration>) -> bool {
    a.zip(b).is_none_or(|(a, b)| a < b)
}

/// Whether `a` is at most `b`; true if one of them is missing.
pub(super) fn at_most(a: Option<Duration>, b: Option<Duration>) -> bool {
    a.zip(b).is_none_or(|(a, b)| a <= b)
}

#[cfg(test)]
mod tests;
