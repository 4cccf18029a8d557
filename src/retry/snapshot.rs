//! What a retry looks like at a glance.

use std::time::Duration;

use super::stats::{AttemptRecord, ClassCounts, RetryCounts};
use crate::{call::PerClass, retry_budget::RetryBudgetSnapshot};

/// The counts and the memory of a retry, taken at one instant.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RetrySnapshot {
    /// How calls ended.
    pub counts: RetryCounts,
    /// What became of failures, by their class.
    pub classes: PerClass<ClassCounts>,
    /// The last 100 attempts of calls that did not succeed at once, oldest first.
    pub history: Vec<AttemptRecord>,
    /// The delay that [`adaptive`](super::RetryConfig::adaptive) has learnt, if it has learnt anything.
    pub learnt_delay: Option<Duration>,
    /// The median of how long successful attempts take: of retries, and of one in sixteen first attempts, which had to wait.
    /// `None` while there are fewer than eight of them.
    pub typical_latency: Option<Duration>,
    /// The budget, which other layers may share.
    pub budget: RetryBudgetSnapshot,
}
