//! The state and the counts of a limit, for operators.

use std::time::Duration;

use crate::call::Priority;

/// The state and the counts of one concurrency limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ConcurrencyLimitSnapshot {
    /// The number of calls that may be in flight. An adaptive limit changes it.
    pub limit: u32,
    /// The time of a call that does not queue in the backend. `None` if the limit is fixed, or has seen too few calls.
    pub baseline: Option<Duration>,
    /// The number of calls in flight, including calls that were served and have not noticed yet.
    pub in_flight: u32,
    /// The number of calls that wait.
    pub waiting: u32,
    /// The same by class, in the order of [`Priority::ALL`].
    pub waiting_by_class: [(Priority, u32); Priority::ALL.len()],
    /// The highest priority of calls that the queue sheds, if it sheds any.
    pub shedding: Option<Priority>,
    /// How limited calls ended since the layer was built.
    pub counts: ConcurrencyLimitCounts,
}

/// How the calls ended that found no free permit. A call that passes at once is not counted.
///
/// `limited` is the sum of `served`, `cancelled`, the four `rejected` counts, and the calls that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ConcurrencyLimitCounts {
    /// The call found no free permit.
    pub limited: u64,
    /// The call waited and got a permit.
    pub served: u64,
    /// The call was dropped while it waited, or would have had to wait outside of a runtime.
    pub cancelled: u64,
    /// The queue was full.
    pub rejected_full: u64,
    /// The call was shed in an overload.
    pub rejected_shed: u64,
    /// The call waited too long, or would have.
    pub rejected_max_wait: u64,
    /// The deadline of the call passed, or would have.
    pub rejected_deadline: u64,
    /// Calls that passed in shadow mode and would have found no free permit. They are not in `limited`.
    pub would_wait: u64,
}
