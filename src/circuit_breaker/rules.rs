//! What the numbers of a circuit breaker may be.

use std::time::Duration;

use super::config::{CircuitBreakerConfig, Window};
use crate::call::ConfigError;

impl CircuitBreakerConfig {
    /// Names the first field that breaks its rule.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        use ConfigError as E;
        let share = |value: f64| value > 0.0 && value <= 1.0;
        let window = match self.window {
            Window::Calls(calls) => (1..=MAX_CALLS).contains(&calls),
            Window::Time(span) => (MIN_SPAN..=DAY).contains(&span),
        };
        let lasting = |delay: Duration| !delay.is_zero() && delay <= DAY;
        let probes = 1..=MAX_PROBES;

        E::check(self.failure_rate.is_none_or(share), "failure_rate", "must be above 0 and at most 1")?;
        E::check(self.min_requests > 0, "min_requests", "must be at least 1")?;
        E::check(window, "window", "must be 1 to 1000000 calls, or 10 ms to 1 day")?;
        E::check(self.consecutive_failures != Some(0), "consecutive_failures", "must be at least 1")?;
        if let Some(slow) = self.slow_call {
            E::check(share(slow.share), "slow_call", "must have a share above 0 and at most 1")?;
            E::check(!slow.over.is_zero(), "slow_call", "must have a duration above 0")?;
        }
        E::check(lasting(self.open_for), "open_for", "must be above 0 and at most 1 day")?;
        E::check((1.0..=100.0).contains(&self.open_multiplier), "open_multiplier", "must be 1 to 100")?;
        E::check(lasting(self.max_open_for), "max_open_for", "must be above 0 and at most 1 day")?;
        E::check((0.0..=1.0).contains(&self.open_jitter), "open_jitter", "must be 0 to 1")?;
        E::check(lasting(self.forgive_after), "forgive_after", "must be above 0 and at most 1 day")?;
        E::check(self.max_retry_after <= DAY, "max_retry_after", "must be at most 1 day")?;
        E::check(probes.contains(&self.half_open_probes), "half_open_probes", "must be 1 to 1000")?;
        let successes = 1..=self.half_open_probes;
        let rule = "must be at least 1 and at most half_open_probes";
        E::check(successes.contains(&self.half_open_successes), "half_open_successes", rule)?;
        E::check(lasting(self.probe_timeout), "probe_timeout", "must be above 0 and at most 1 day")?;
        let half_open = self.probe_timeout <= self.half_open_for && self.half_open_for <= DAY;
        E::check(half_open, "half_open_for", "must be at least probe_timeout and at most 1 day")?;
        E::check(self.ramp <= DAY, "ramp", "must be at most 1 day")
    }
}

/// Two bits a call: a quarter of a megabyte.
const MAX_CALLS: u32 = 1_000_000;
/// More probes than this are no probes.
const MAX_PROBES: u32 = 1_000;
const MIN_SPAN: Duration = Duration::from_millis(10);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

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
        for factor in [0.0, 0.99, 101.0, f64::NAN] {
            assert_eq!(field(new().open_multiplier(factor)), "open_multiplier");
        }
        for jitter in [-0.1, 1.1, f64::NAN] {
            assert_eq!(field(new().open_jitter(jitter)), "open_jitter");
        }
        for delay in [Duration::ZERO, Duration::MAX] {
            assert_eq!(field(new().open_for(delay)), "open_for");
            assert_eq!(field(new().forgive_after(delay)), "forgive_after");
            assert_eq!(field(new().probe_timeout(delay)), "probe_timeout");
            assert_eq!(field(new().half_open_for(delay)), "half_open_for");
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
}
