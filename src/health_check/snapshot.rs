//! The status and the counts of an endpoint's checks, for operators.

use crate::telemetry::HealthStatus;

/// The status of an endpoint, and how its checks ended since they began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HealthSnapshot {
    /// The status.
    pub status: HealthStatus,
    /// The checks that passed.
    pub passed: u64,
    /// The checks whose probe returned an error.
    pub failed: u64,
    /// The checks that took longer than the timeout.
    pub timed_out: u64,
    /// The checks whose probe panicked.
    pub panicked: u64,
    /// The changes of the status.
    pub transitions: u64,
    /// The text of the latest failure, with its sources, shortened and escaped. A later success leaves it.
    pub last_failure: Option<String>,
}
