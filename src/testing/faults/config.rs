//! The numbers of injected faults.

use super::latency::Latency;
use crate::call::ConfigError;

/// How often a call fails or hangs, and how much longer it takes.
///
/// ```
/// use std::time::Duration;
/// use tower_reliability::testing::{FaultConfig, Latency};
///
/// let slow = FaultConfig::new().latency(Latency::Fixed(Duration::from_secs(2)));
/// let layer = slow.build()?;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct FaultConfig {
    pub(super) latency: Latency,
    pub(super) failure_rate: f64,
    pub(super) hang_rate: f64,
    pub(super) seed: u64,
}

impl FaultConfig {
    /// No fault.
    #[must_use]
    pub const fn new() -> Self {
        Self { latency: Latency::None, failure_rate: 0.0, hang_rate: 0.0, seed: 0 }
    }

    /// Delays the answer of the service, and injected failures. Default: [`Latency::None`].
    #[must_use]
    pub const fn latency(mut self, latency: Latency) -> Self {
        self.latency = latency;
        self
    }

    /// Fails this ratio of the calls, and does not call the service for them.
    ///
    /// A rate above 0 needs [`build_failing`](Self::build_failing), which says how calls fail. From 0 to 1. Default: 0.
    #[must_use]
    pub const fn failure_rate(mut self, rate: f64) -> Self {
        self.failure_rate = rate;
        self
    }

    /// Never answers this ratio of the calls, and does not call the service for them.
    ///
    /// From 0 to 1, and at most 1 together with [`failure_rate`](Self::failure_rate). Default: 0.
    #[must_use]
    pub const fn hang_rate(mut self, rate: f64) -> Self {
        self.hang_rate = rate;
        self
    }

    /// Begins the random numbers. The same seed and order of calls give the same faults. Any number. Default: 0.
    ///
    /// The faults of a seed may change with a version of this crate.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// `fails` says whether the layer knows how calls fail.
    pub(super) fn check(&self, fails: bool) -> Result<(), ConfigError> {
        self.latency.check()?;
        let rates = 0.0..=1.0;
        ConfigError::check(rates.contains(&self.failure_rate), "failure_rate", "must be from 0 to 1")?;
        ConfigError::check(rates.contains(&self.hang_rate), "hang_rate", "must be from 0 to 1")?;
        let rule = "must be at most 1 together with failure_rate";
        ConfigError::check(self.failure_rate + self.hang_rate <= 1.0, "hang_rate", rule)?;
        let rule = "must be 0 unless `build_failing` says how calls fail";
        ConfigError::check(fails || self.failure_rate <= 0.0, "failure_rate", rule)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_number_out_of_range_is_refused_by_its_name() {
        let new = FaultConfig::new();
        let refused = |config: FaultConfig| config.check(true).map_err(|error| error.field());
        assert_eq!(refused(new.failure_rate(f64::NAN)), Err("failure_rate"));
        assert_eq!(refused(new.hang_rate(-0.1)), Err("hang_rate"));
        assert_eq!(refused(new.hang_rate(0.6).failure_rate(0.6)), Err("hang_rate"));
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(2));
        assert_eq!(refused(new.latency(Latency::Uniform { min: long, max: short })), Err("latency"));
        let no_median = Latency::LongTail { median: Duration::ZERO, p99: long };
        assert_eq!(refused(new.latency(no_median)), Err("latency"));
        assert_eq!(refused(new.hang_rate(0.5).failure_rate(0.5)), Ok(()));
    }

    #[test]
    fn a_failure_rate_needs_a_failure() {
        let failing = FaultConfig::new().failure_rate(0.1);
        assert_eq!(failing.check(false).map_err(|error| error.field()), Err("failure_rate"));
        assert_eq!(failing.check(true), Ok(()));
    }
}
