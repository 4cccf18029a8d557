//! The numbers of a budget.

use std::time::Duration;

use crate::call::ConfigError;

/// How many retries a budget gives credit for.
///
/// ```
/// use tower_reliability::retry_budget::RetryBudgetConfig;
///
/// const CAREFUL: RetryBudgetConfig = RetryBudgetConfig::new().share(0.1).health_gate(0.1, 0.3);
/// let budget = CAREFUL.build()?;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct RetryBudgetConfig {
    pub(super) share: f64,
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub(super) window: Duration,
    pub(super) start: u32,
    pub(super) health_gate: HealthGate,
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub(super) health_window: Duration,
}

/// Between which shares of failed attempts the gate closes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub(super) enum HealthGate {
    Off,
    Between(f64, f64),
}

impl RetryBudgetConfig {
    /// A fifth of the requests, as long as less than a quarter of the attempts fail.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            share: 0.2,
            window: Duration::from_secs(60),
            start: 10,
            health_gate: HealthGate::Between(0.25, 0.5),
            health_window: Duration::from_secs(2),
        }
    }

    /// How many retries there may be per request, on average over the [window](Self::window).
    ///
    /// From 0 to 10. Default: 0.2.
    #[must_use]
    pub const fn share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// What the share is taken over. What is not spent within it is lost, but for what fills up the [start](Self::start).
    ///
    /// A client that sends little needs a long one: over 10 s, chance alone uses up its share now and then. That more is
    /// saved up does no harm, since the [health gate](Self::health_gate) keeps it from being spent on a peer that is ill.
    ///
    /// 10 ms to 1 day. Default: 60 s.
    #[must_use]
    pub const fn window(mut self, span: Duration) -> Self {
        self.window = span;
        self
    }

    /// How many retries are given before there have been any requests.
    ///
    /// They are given once; but of what is not spent within the window, as much is kept as fills them up again, so that a
    /// client with few requests has a retry too.
    /// Default: 10.
    #[must_use]
    pub const fn start(mut self, retries: u32) -> Self {
        self.start = retries;
        self
    }

    /// The share of failed attempts below which the peer is well, and that from which it is ill.
    ///
    /// While it is well, the share of retries is all that limits them; while it is ill, one retry in a hundred passes;
    /// in between, the fewer the more fail. Both from 0 to 1, the first below the second. In a file:
    /// `health_gate = { between = [0.25, 0.5] }` or `health_gate = "off"`. Default: 0.25 and 0.5.
    #[must_use]
    pub const fn health_gate(mut self, well_below: f64, ill_from: f64) -> Self {
        self.health_gate = HealthGate::Between(well_below, ill_from);
        self
    }

    /// Leaves the share as the only limit.
    #[must_use]
    pub const fn without_health_gate(mut self) -> Self {
        self.health_gate = HealthGate::Off;
        self
    }

    /// Over what time the peer's health is judged.
    ///
    /// 10 ms to 1 day. Default: 2 s.
    #[must_use]
    pub const fn health_window(mut self, span: Duration) -> Self {
        self.health_window = span;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let span = |span: Duration| (SHORTEST..=LONGEST).contains(&span);
        let gate = match self.health_gate {
            HealthGate::Off => true,
            HealthGate::Between(well_below, ill_from) => {
                (0.0..=1.0).contains(&well_below) && (0.0..=1.0).contains(&ill_from) && well_below < ill_from
            }
        };
        ConfigError::check((0.0..=10.0).contains(&self.share), "share", "must be at least 0 and at most 10")?;
        ConfigError::check(span(self.window), "window", "must be at least 10 ms and at most 1 day")?;
        ConfigError::check(
            gate,
            "health_gate",
            "must be two shares from 0 to 1, the first below the second",
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
            (new().share(f64::NAN), "share"),
            (new().share(-0.1), "share"),
            (new().share(11.0), "share"),
            (new().window(Duration::ZERO), "window"),
            (new().health_window(Duration::MAX), "health_window"),
            (new().health_gate(0.5, 0.5), "health_gate"),
            (new().health_gate(f64::NAN, 0.5), "health_gate"),
            (new().health_gate(0.2, f64::INFINITY), "health_gate"),
        ] {
            assert_eq!(config.check().map_err(|error| error.field()), Err(field), "{config:?}");
        }
        assert_eq!(new().check(), Ok(()));
        assert_eq!(new().without_health_gate().start(u32::MAX).check(), Ok(()));
    }
}
