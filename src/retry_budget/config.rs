//! The numbers of a budget.

use std::time::Duration;

use crate::call::ConfigError;

/// How many retries and hedges a budget grants.
///
/// ```
/// use tower_reliability::retry_budget::RetryBudgetConfig;
///
/// const CAREFUL: RetryBudgetConfig =
///     RetryBudgetConfig::new().ratio(0.1).health_gate(0.1, 0.3);
/// let budget = CAREFUL.build()?;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, expecting = "a table, such as { ratio = 0.2 }")
)]
pub struct RetryBudgetConfig {
    pub(super) ratio: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) window: Duration,
    pub(super) reserve: u32,
    #[cfg_attr(feature = "serde", serde(deserialize_with = "super::serde::health_gate"))]
    pub(super) health_gate: HealthGate,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) health_window: Duration,
}

/// Between which failure ratios of the attempts the gate closes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub(super) enum HealthGate {
    Off,
    Between(f64, f64),
}

impl RetryBudgetConfig {
    /// Retries for a fifth of the requests, while less than a quarter of the attempts fail.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ratio: 0.2,
            window: Duration::from_secs(60),
            reserve: 10,
            health_gate: HealthGate::Between(0.25, 0.5),
            health_window: Duration::from_secs(2),
        }
    }

    /// Retries per request, averaged over the [window](Self::window).
    ///
    /// A higher ratio hides more random failures, and adds as much load to a backend that fails. With three attempts, 0.2
    /// is enough up to a failure rate of about 16 %. From 0 to 10. Default: 0.2.
    #[must_use]
    pub const fn ratio(mut self, ratio: f64) -> Self {
        self.ratio = ratio;
        self
    }

    /// The span over which the ratio is taken. Unspent deposits expire with it, except up to [`reserve`](Self::reserve)
    /// retries.
    ///
    /// A quiet client needs a long window: over 10 s, chance alone uses up its ratio now and then. A long window saves up
    /// more retries, which the [health rule](Self::health_gate) keeps from a backend that fails. From 10 ms to 1 day.
    /// Default: 60 s.
    #[must_use]
    pub const fn window(mut self, span: Duration) -> Self {
        self.window = span;
        self
    }

    /// Retries that a budget grants before any request was made.
    ///
    /// The budget grants them once. Unspent deposits that leave the window refill them, so that a client with few
    /// requests has a retry too. Every client has a reserve of its own: with 100 clients, 10 each are 1 000 retries.
    /// Any number. Default: 10.
    #[must_use]
    pub const fn reserve(mut self, retries: u32) -> Self {
        self.reserve = retries;
        self
    }

    /// The failure ratios of the attempts between which the gate closes.
    ///
    /// Below the first, the ratio alone limits retries. From the second on, one retry in a hundred passes. In between,
    /// fewer pass the more attempts fail. Five consecutive failures over at least 100 ms close the gate too, until the
    /// next success.
    ///
    /// Lower ratios protect the backend earlier, and give up retries that random failures need. Both from 0 to 1, the
    /// first below the second. In a file: `health_gate = { between = [0.25, 0.5] }` or `health_gate = "off"`. Default:
    /// 0.25 and 0.5.
    #[must_use]
    pub const fn health_gate(mut self, healthy_below: f64, unhealthy_from: f64) -> Self {
        self.health_gate = HealthGate::Between(healthy_below, unhealthy_from);
        self
    }

    /// Leaves the ratio as the only limit.
    #[must_use]
    pub const fn without_health_gate(mut self) -> Self {
        self.health_gate = HealthGate::Off;
        self
    }

    /// The span over which the health rule judges the backend.
    ///
    /// A short span stops retries sooner in an outage, and judges a quiet client by fewer attempts. From 10 ms to 1 day.
    /// Default: 2 s.
    #[must_use]
    pub const fn health_window(mut self, span: Duration) -> Self {
        self.health_window = span;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let span = |span: Duration| (SHORTEST..=LONGEST).contains(&span);
        let gate = match self.health_gate {
            HealthGate::Off => true,
            HealthGate::Between(healthy_below, unhealthy_from) => {
                (0.0..=1.0).contains(&healthy_below)
                    && (0.0..=1.0).contains(&unhealthy_from)
                    && healthy_below < unhealthy_from
            }
        };
        ConfigError::check((0.0..=10.0).contains(&self.ratio), "ratio", "must be at least 0 and at most 10")?;
        ConfigError::check(span(self.window), "window", "must be at least 10 ms and at most 1 day")?;
        ConfigError::check(
            gate,
            "health_gate",
            "must be two ratios from 0 to 1, the first below the second",
        )?;
        ConfigError::check(
            span(self.health_window),
            "health_window",
            "must be at least 10 ms and at most 1 day",
        )
    }
}

impl Default for RetryBudgetConfig {
    fn default() -> Self {
        Self::new()
    }
}

const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_range_is_refused_by_its_name() {
        let new = RetryBudgetConfig::new;
        for (config, field) in [
            (new().ratio(f64::NAN), "ratio"),
            (new().ratio(-0.1), "ratio"),
            (new().ratio(11.0), "ratio"),
            (new().window(Duration::ZERO), "window"),
            (new().health_window(Duration::MAX), "health_window"),
            (new().health_gate(0.5, 0.5), "health_gate"),
            (new().health_gate(f64::NAN, 0.5), "health_gate"),
            (new().health_gate(0.2, f64::INFINITY), "health_gate"),
        ] {
            assert_eq!(config.check().map_err(|error| error.field()), Err(field), "{config:?}");
        }
        assert_eq!(new().check(), Ok(()));
        assert_eq!(new().without_health_gate().reserve(u32::MAX).check(), Ok(()));
    }
}
