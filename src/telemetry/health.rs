//! The health of an endpoint by its checks. Events and snapshots share it.

use std::fmt;

/// The health of an endpoint, as its checks found it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum HealthStatus {
    /// No check has ended yet.
    #[default]
    Unknown,
    /// The endpoint passes its checks.
    Healthy,
    /// The endpoint fails its checks.
    Unhealthy,
}

impl HealthStatus {
    /// The status in lower case, for events and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The way in which a check failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum CheckFailure {
    /// The probe returned an error.
    Failed,
    /// The probe took longer than the timeout.
    TimedOut,
    /// The probe panicked.
    Panicked,
}

impl CheckFailure {
    /// The failure in lower case, for events and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Panicked => "panicked",
        }
    }
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "check failed",
            Self::TimedOut => "check timed out",
            Self::Panicked => "check panicked",
        })
    }
}

/// A change of the health of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthTransition {
    /// The former status.
    pub from: HealthStatus,
    /// The new status.
    pub to: HealthStatus,
    /// The failure of the check that decided. `None` if the endpoint became healthy.
    pub failure: Option<CheckFailure>,
}
