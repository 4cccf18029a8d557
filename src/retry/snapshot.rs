//! The counts and the memory of a retry layer.

use std::time::Duration;

use super::stats::{AttemptRecord, ClassCounts, RetryCounts};
use crate::{call::PerClass, retry_budget::RetryBudgetSnapshot};

/// The counts and the memory of a retry layer, taken at one instant.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RetrySnapshot {
    /// How calls ended.
    pub counts: RetryCounts,
    /// The failures by class, and their consequences.
    pub classes: PerClass<ClassCounts>,
    /// The last 100 attempts of calls that did not succeed at once, oldest first.
    pub history: Vec<AttemptRecord>,
    /// The delay that an [`adaptive`](super::RetryConfig::adaptive) backoff has learnt.
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration::optional"))]
    pub learnt_delay: Option<Duration>,
    /// The median time of successful attempts that had to wait: of all retries, and of one first attempt in sixteen.
    /// `None` while there are fewer than eight samples.
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration::optional"))]
    pub typical_latency: Option<Duration>,
    /// The budget, which other layers may share.
    pub budget: RetryBudgetSnapshot,
}
