//! The state and the counts of a limit, for operators.

use super::adaptive::AdaptiveRateSnapshot;
use crate::call::Priority;

/// The state and the counts of one rate limit.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RateLimitSnapshot {
    /// The tokens in the bucket. `None` without a bucket.
    pub tokens: Option<u32>,
    /// The tokens for which the window has room. `None` without a window.
    pub left_in_window: Option<u32>,
    /// The number of calls that wait.
    pub waiting: u32,
    /// The same by class, in the order of [`Priority::ALL`].
    pub waiting_by_class: [(Priority, u32); Priority::ALL.len()],
    /// The highest priority of calls that the queue sheds. `None` if it sheds no call.
    pub shedding: Option<Priority>,
    /// The rate of the moment. `None` if the rate is fixed.
    pub adaptive: Option<AdaptiveRateSnapshot>,
    /// How limited calls ended since the layer was built.
    pub counts: RateLimitCounts,
}

/// How the calls ended that did not pass at once. A call that passes at once is not counted.
///
/// `limited` is the sum of `served`, `cancelled`, the `rejected` counts, and the calls that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RateLimitCounts {
    /// The call found too few tokens.
    pub limited: u64,
    /// The call waited and got its tokens.
    pub served: u64,
    /// The call was dropped while it waited, or would have had to wait outside of a runtime.
    pub cancelled: u64,
    /// No call may wait, or the queue was full.
    pub rejected_full: u64,
    /// The call was shed in an overload.
    pub rejected_shed: u64,
    /// The call waited too long, or would have.
    pub rejected_max_wait: u64,
    /// The deadline of the call passed, or would have.
    pub rejected_deadline: u64,
    /// The call costs more than can ever pass.
    pub rejected_cost: u64,
    /// Calls that passed in shadow mode and would have been held up or rejected. They are not in `limited`.
    pub would_limit: u64,
}
