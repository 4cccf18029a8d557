//! The numbers of health checks.

use std::time::Duration;

use crate::{algo::spread, call::ConfigError};

/// How often endpoints are checked, and how many results change their status.
///
/// ```
/// use std::time::Duration;
/// use tower_reliability::health_check::HealthCheckConfig;
///
/// const CHECKS: HealthCheckConfig =
///     HealthCheckConfig::new().interval(Duration::from_secs(5)).timeout(Duration::from_secs(1));
/// let checker = CHECKS.build()?;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, expecting = "a table, such as { interval = \"5s\" }")
)]
pub struct HealthCheckConfig {
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    interval: Duration,
    jitter: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) timeout: Duration,
    pub(super) rise: u32,
    pub(super) fall: u32,
}

impl HealthCheckConfig {
    /// With the defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            interval: Duration::from_secs(10),
            jitter: 0.1,
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
        }
    }

    /// The pause between the end of a check and the next check of the same endpoint.
    ///
    /// A short interval finds a dead endpoint sooner, and costs each endpoint more requests. A check that is slow, or
    /// that times out, delays the next one. 1 ms to 1 day. Default: 10 s.
    #[must_use]
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Moves each pause by at most this ratio of the [`interval`](Self::interval), up or down, at random.
    ///
    /// Without it, processes that start together check together. 0 to 0.5. Default: 0.1.
    #[must_use]
    pub const fn jitter(mut self, ratio: f64) -> Self {
        self.jitter = ratio;
        self
    }

    /// The longest time that a check may take. A longer one fails, and its probe is dropped.
    ///
    /// A short timeout finds a hanging endpoint sooner, and fails endpoints that are only slow. 1 ms to 1 day.
    /// Default: 2 s.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// An unhealthy endpoint becomes healthy after so many passed checks in a row.
    ///
    /// A high number keeps an endpoint away that comes and goes. A low one uses it again sooner. At least 1. Default: 2.
    #[must_use]
    pub const fn rise(mut self, checks: u32) -> Self {
        self.rise = checks;
        self
    }

    /// A healthy endpoint becomes unhealthy after so many failed checks in a row.
    ///
    /// A high number survives a lost packet. A low one finds a dead endpoint sooner: it takes so many times the sum of
    /// interval and timeout. At least 1. Default: 3.
    #[must_use]
    pub const fn fall(mut self, checks: u32) -> Self {
        self.fall = checks;
        self
    }

    /// The pause before the next check, for a random `unit` (0 ‥ 1).
    pub(super) fn pause(&self, unit: f64) -> Duration {
        spread(self.interval, self.jitter, unit)
    }

    /// The longest pause before the first check, beside so many other endpoints.
    ///
    /// The first checks of few endpoints come at once. Those of many endpoints do not open all their sockets at once.
    pub(super) fn longest_start(&self, others: u64) -> Duration {
        SPREAD.saturating_mul(u32::try_from(others).unwrap_or(u32::MAX)).min(self.interval)
    }

    /// Names the first field that breaks its rule.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let span = "must be at least 1 ms and at most 1 day";
        let checks = [
            ((MILLI..=DAY).contains(&self.interval), "interval", span),
            ((0.0..=0.5).contains(&self.jitter), "jitter", "must be at least 0 and at most 0.5"),
            ((MILLI..=DAY).contains(&self.timeout), "timeout", span),
            (self.rise >= 1, "rise", "must be at least 1"),
            (self.fall >= 1, "fall", "must be at least 1"),
        ];
        checks.into_iter().try_for_each(|(holds, field, rule)| ConfigError::check(holds, field, rule))
    }
}

impl Default for HealthCheckConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// A thousand first checks take a second.
const SPREAD: Duration = Duration::from_millis(1);
const MILLI: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_21_numbers_out_of_range_are_refused_by_their_name() {
        let new = HealthCheckConfig::new();
        let refused = |config: HealthCheckConfig| config.check().err().map(|error| error.field());
        assert_eq!(refused(new), None);
        for time in [Duration::ZERO, Duration::from_micros(999), Duration::MAX] {
            assert_eq!(refused(new.interval(time)), Some("interval"));
            assert_eq!(refused(new.timeout(time)), Some("timeout"));
        }
        for ratio in [-0.1, f64::NAN, 0.51, f64::INFINITY] {
            assert_eq!(refused(new.jitter(ratio)), Some("jitter"));
        }
        assert_eq!(refused(new.rise(0)), Some("rise"));
        assert_eq!(refused(new.fall(0)), Some("fall"));
        assert_eq!(refused(new.rise(u32::MAX).fall(u32::MAX).interval(DAY).timeout(DAY).jitter(0.5)), None);
    }

    #[test]
    fn a_pause_is_the_interval_and_its_jitter() {
        let config = HealthCheckConfig::new();
        let pauses = [0.0, 0.5, 1.0].map(|unit| config.pause(unit).as_millis());
        assert_eq!(pauses, [9_000, 10_000, 11_000]);
    }

    #[test]
    fn a_lone_endpoint_is_checked_at_once_and_many_within_an_interval() {
        let config = HealthCheckConfig::new();
        let starts = [0, 9, 1_000, u64::MAX].map(|others| config.longest_start(others).as_millis());
        assert_eq!(starts, [0, 9, 1_000, 10_000]);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_file_may_leave_out_every_number() {
        let config = toml::from_str("interval = '5s'\ntimeout = '500ms'\nrise = 1");
        let expected = HealthCheckConfig::new()
            .interval(Duration::from_secs(5))
            .timeout(Duration::from_millis(500))
            .rise(1);
        assert_eq!(config, Ok(expected));
        assert_eq!(toml::from_str(""), Ok(HealthCheckConfig::new()));
        assert!(toml::from_str::<HealthCheckConfig>("falls = 3").is_err());
    }
}
