//! The ranges of the numbers.

use std::time::Duration;

use super::{CircuitBreakerConfig, Window};
use crate::call::ConfigError;

impl CircuitBreakerConfig {
    /// Names the first field that breaks its rule.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        use ConfigError as E;
        let ratio = |value: f64| value > 0.0 && value <= 1.0;
        let window = match self.window {
            Window::Calls(calls) => (1..=MAX_CALLS).contains(&calls),
            Window::Time(span) => (MIN_SPAN..=DAY).contains(&span),
        };
        let lasting = |delay: Duration| !delay.is_zero() && delay <= DAY;
        let probes = 1..=MAX_PROBES;

        E::check(self.failure_rate.is_none_or(ratio), "failure_rate", "must be above 0 and at most 1")?;
        E::check(self.min_requests > 0, "min_requests", "must be at least 1")?;
        E::check(window, "window", "must be 1 to 1000000 calls, or 10 ms to 1 day")?;
        E::check(self.consecutive_failures != Some(0), "consecutive_failures", "must be at least 1")?;
        if let Some(slow) = self.slow_call {
            E::check(ratio(slow.rate), "slow_call", "must have a rate above 0 and at most 1")?;
            E::check(!slow.over.is_zero(), "slow_call", "must have a duration above 0")?;
        }
        E::check(lasting(self.open_for), "open_for", "must be above 0 and at most 1 day")?;
        E::check((0.0..=1.0).contains(&self.outage_ratio), "outage_ratio", "must be 0 to 1")?;
        E::check((1.0..=100.0).contains(&self.open_multiplier), "open_multiplier", "must be 1 to 100")?;
        E::check(lasting(self.max_open_for), "max_open_for", "must be above 0 and at most 1 day")?;
        E::check((0.0..=1.0).contains(&self.open_jitter), "open_jitter", "must be 0 to 1")?;
        E::check(
            lasting(self.backoff_decay_every),
            "backoff_decay_every",
            "must be above 0 and at most 1 day",
        )?;
        E::check(self.max_retry_after <= DAY, "max_retry_after", "must be at most 1 day")?;
        E::check(probes.contains(&self.half_open_probes), "half_open_probes", "must be 1 to 1000")?;
        E::check(probes.contains(&self.half_open_successes), "half_open_successes", "must be 1 to 1000")?;
        let (probes, successes) = self.probes();
        E::check(successes <= probes, "half_open_successes", "must be at most half_open_probes")?;
        E::check(lasting(self.probe_timeout), "probe_timeout", "must be above 0 and at most 1 day")?;
        E::check(self.ramp <= DAY, "ramp", "must be at most 1 day")
    }
}

/// Two bits a call: a quarter of a megabyte.
const MAX_CALLS: u32 = 1_000_000;
/// Calls beyond this number are no probes.
const MAX_PROBES: u32 = 1_000;
const MIN_SPAN: Duration = Duration::from_millis(10);
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
