//! The numbers of a drain.

use std::time::Duration;

use crate::call::ConfigError;

/// How long a drain admits calls, and how long it waits for them.
///
/// ```
/// use std::time::Duration;
/// use tower_reliability::drain::DrainConfig;
///
/// const DRAIN: DrainConfig =
///     DrainConfig::new().delay(Duration::from_secs(5)).limit(Duration::from_secs(20));
/// let layer = DRAIN.build()?;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct DrainConfig {
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) delay: Duration,
    /// `None`: the default, which a stack may move.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::call::duration::optional", skip_serializing_if = "Option::is_none")
    )]
    limit: Option<Duration>,
}

impl DrainConfig {
    /// With the defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self { delay: Duration::ZERO, limit: None }
    }

    /// Admits calls for this long after the drain has begun.
    ///
    /// A load balancer learns from the readiness endpoint that the server drains, and sends requests until then. A long
    /// delay loses none of them, and a short one ends the process sooner. Take the interval of the readiness check, times
    /// the failures that the check needs. Any. Default: 0.
    #[must_use]
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Waits at most this long for the calls in flight, from the end of the [`delay`](Self::delay).
    ///
    /// A long limit lets slow calls finish. Delay and limit together must be below the time after which the platform
    /// kills the process, such as 30 s in Kubernetes. Above 0. Default: 25 s.
    #[must_use]
    pub const fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The longest wait for the calls in flight.
    pub(crate) fn longest_wait(&self) -> Duration {
        self.limit.unwrap_or(LIMIT)
    }

    /// The limit, if the user chose it.
    pub(crate) const fn chosen_limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Names the first field that breaks its rule.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        ConfigError::check(!self.longest_wait().is_zero(), "limit", "must be above 0")
    }
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// Kubernetes kills a process 30 s after SIGTERM. The rest is for the server's own shutdown.
const LIMIT: Duration = Duration::from_secs(25);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_21_a_drain_without_time_is_refused_and_the_longest_is_not() {
        let new = DrainConfig::new();
        assert_eq!(new.limit(Duration::ZERO).check().map_err(|error| error.field()), Err("limit"));
        assert_eq!(new.limit(Duration::MAX).delay(Duration::MAX).check(), Ok(()));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_file_may_leave_out_every_number() {
        assert_eq!(toml::from_str("delay = '5s'"), Ok(DrainConfig::new().delay(Duration::from_secs(5))));
        assert_eq!(toml::from_str(""), Ok(DrainConfig::new()));
        for config in [DrainConfig::new(), DrainConfig::new().limit(LIMIT)] {
            let written = toml::to_string(&config).expect("valid");
            assert_eq!(toml::from_str(&written), Ok(config), "{written}");
        }
        assert!(toml::from_str::<DrainConfig>("limits = '5s'").is_err());
    }
}
