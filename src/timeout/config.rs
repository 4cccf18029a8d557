//! The limit of a timeout.

use std::time::Duration;

use crate::call::ConfigError;

/// The longest time that a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct TimeoutConfig {
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    limit: Duration,
    #[cfg_attr(feature = "serde", serde(skip))]
    yields: bool,
}

impl TimeoutConfig {
    /// Ends a call after `limit`.
    ///
    /// A short limit frees the caller early, and turns slow answers into failures. Range: above 0. There is no
    /// default.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { limit, yields: false }
    }

    /// The limit.
    #[must_use]
    pub const fn limit(&self) -> Duration {
        self.limit
    }

    /// Marks the limit as a default that the user of a stack has not chosen.
    ///
    /// The stack moves such a limit if a chosen number of another stage conflicts with it. A limit without the mark is
    /// refused then. The mark has no effect on a single layer. Default: no mark.
    #[must_use]
    pub const fn yielding(mut self) -> Self {
        self.yields = true;
        self
    }

    /// Whether the limit is a default.
    pub(crate) const fn yields(&self) -> bool {
        self.yields
    }

    pub(crate) const fn check(&self, field: &'static str) -> Result<(), ConfigError> {
        ConfigError::check(!self.limit.is_zero(), field, "must be above 0")
    }
}

impl From<Duration> for TimeoutConfig {
    fn from(limit: Duration) -> Self {
        Self::new(limit)
    }
}
