//! The numbers of a fallback.

use std::time::Duration;

use crate::call::{ConfigError, ErrorClass, ErrorClasses};

/// Names the calls that a fallback answers, and bounds the memory of last good answers.
///
/// ```
/// use std::time::Duration;
/// use tower_reliability::{ErrorClass, fallback::FallbackConfig};
///
/// const CATALOGUE: FallbackConfig = FallbackConfig::new()
///     .on(ErrorClass::Server)
///     .on(ErrorClass::Connection)
///     .ttl(Duration::from_secs(3_600));
/// let layer = CATALOGUE.build()?.value("the catalogue of last week");
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, expecting = "a table, such as { ttl = \"1h\" }")
)]
pub struct FallbackConfig {
    pub(super) on: ErrorClasses,
    pub(super) max_entries: u32,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) ttl: Duration,
}

impl FallbackConfig {
    /// Answers rejections only.
    ///
    /// A layer on this side makes a rejection: a breaker or a timeout, for example.
    /// [`AsRejected`](crate::AsRejected) tells a rejection from an error of the backend. So a timeout on this side is a
    /// rejection, and "timed out" from the backend is a failure of class [`Timeout`](ErrorClass::Timeout).
    #[must_use]
    pub const fn new() -> Self {
        Self { on: ErrorClasses::NONE, max_entries: 1_024, ttl: Duration::from_secs(300) }
    }

    /// Answers failures of this class too, errors and responses alike; call it once per class.
    ///
    /// The classifier gives the class. An answered failure is hidden from the caller, so name only the classes for
    /// which the answer is good enough. In a file: `on = ["server", "connection"]`. Default: no class.
    #[must_use]
    pub const fn on(mut self, class: ErrorClass) -> Self {
        self.on = self.on.with(class);
        self
    }

    /// Answers failures of every class, including the caller's own mistakes.
    ///
    /// Default: off.
    #[must_use]
    pub const fn on_all_failures(mut self) -> Self {
        self.on = ErrorClasses::ALL;
        self
    }

    /// Remembers at most this many last good answers, one per key; the oldest makes room.
    ///
    /// More answers serve more keys and take more memory. Range: at least 1. Default: 1,024 answers.
    #[must_use]
    pub const fn max_entries(mut self, count: u32) -> Self {
        self.max_entries = count;
        self
    }

    /// Gives a last good answer up to this age.
    ///
    /// A longer time bridges a longer outage with staler answers. Range: above 0. Default: 300 s.
    #[must_use]
    pub const fn ttl(mut self, age: Duration) -> Self {
        self.ttl = age;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        ConfigError::check(self.max_entries > 0, "max_entries", "must be at least 1")?;
        ConfigError::check(!self.ttl.is_zero(), "ttl", "must be above 0")
    }
}

impl Default for FallbackConfig {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_21_a_number_out_of_range_is_refused_by_its_name() {
        let field = |config: FallbackConfig| config.build().map_err(|error| error.field()).map(|_| ());
        assert_eq!(field(FallbackConfig::new().max_entries(0)), Err("max_entries"));
        assert_eq!(field(FallbackConfig::new().ttl(Duration::ZERO)), Err("ttl"));
        assert_eq!(field(FallbackConfig::new().max_entries(u32::MAX).ttl(Duration::MAX)), Ok(()));
    }
}
