//! The counts of a leased limit, for operators.

use std::time::Duration;

/// The state and the counts of a leased limit, of all keys together, since the layer was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LeasedRateLimitSnapshot {
    /// The time since which the source has not answered. `None` while it answers.
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration::optional"))]
    pub lost_for: Option<Duration>,
    /// The number of calls that were rejected.
    pub rejected: u64,
    /// The number of calls that passed in shadow mode and would have been rejected.
    pub would_limit: u64,
    /// The number of questions to the source.
    pub asked: u64,
    /// The number of questions that the source did not answer in time.
    pub unanswered: u64,
    /// The number of calls that passed, or found units for later calls, on the share of the instance, or because the
    /// limit is open after the grace.
    pub on_share: u64,
}
