//! The numbers of a fallback.

use std::time::Duration;

use crate::call::{ConfigError, ErrorClass, ErrorClasses};

/// Which calls are answered otherwise, and how many good answers are remembered for how long.
///
/// ```
/// use std::time::Duration;
/// use tower_reliability::{ErrorClass, fallback::FallbackConfig};
///
/// const CATALOGUE: FallbackConfig = FallbackConfig::new()
///     .on(ErrorClass::Server)
///     .on(ErrorClass::Connection)
///     .ttl(Duration::from_secs(3_600));
/// let layer = CATALOGUE.build()?;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct FallbackConfig {
    pub(super) on: ErrorClasses,
    pub(super) max_entries: u32,
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub(super) ttl: Duration,
}

impl FallbackConfig {
    /// On rejections only.
    ///
    /// A rejection is what a layer on this side made: an open circuit, a full queue, a timeout, a deadline. It is told
    /// from an error of the peer by [`AsRejected`](crate::AsRejected), so a timeout of ours is one, and the peer's own
    /// "timed out" is a failure of class [`Timeout`](ErrorClass::Timeout).
    #[must_use]
    pub const fn new() -> Self {
        Self { on: ErrorClasses::NONE, max_entries: 1_024, ttl: Duration::from_secs(300) }
    }

    /// Also on failures of this class, be they errors or responses: the classifier tells. Once per class.
    ///
    /// In a file: `on = ["server", "connection"]`. Default: none.
    #[must_use]
    pub const fn on(mut self, class: ErrorClass) -> Self {
        self.on = self.on.with(class);
        self
    }

    /// Also on failures of every class, the caller's own mistakes included.
    #[must_use]
    pub const fn on_all_failures(mut self) -> Self {
        self.on = ErrorClasses::ALL;
        self
    }

    /// How many last good answers are held, one per key. When there are more, the oldest answer goes. At least 1.
    ///
    /// Default: 1 024.
    #[must_use]
    pub const fn max_entries(mut self, count: u32) -> Self {
        self.max_entries = count;
        self
    }

    /// How old a last good answer may be when it is given again. Above 0.
    ///
    /// Default: 300 s.
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
