//! The counts and the learnt delays of a hedge layer.

use std::time::Duration;

use super::state::Stop;
use crate::retry_budget::{RejectedBy, RetryBudgetSnapshot};

/// The counts and the delays of a hedge layer, taken at one instant.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HedgeSnapshot {
    /// How calls ended.
    pub counts: HedgeCounts,
    /// The delay of class 0, and of each other class that has samples.
    pub classes: Vec<ClassDelay>,
    /// The budget, which other layers may share.
    pub budget: RetryBudgetSnapshot,
}

/// How calls ended, since the layer was built. Every call that is over counts in exactly one of `won_by_primary`,
/// `won_by_hedge`, `failed` and `abandoned`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HedgeCounts {
    /// Calls that were answered by their first request, the primary.
    pub won_by_primary: u64,
    /// Calls that were answered by a hedge.
    pub won_by_hedge: u64,
    /// Calls that did not succeed.
    pub failed: u64,
    /// Calls whose future was dropped before it completed.
    pub abandoned: u64,
    /// Requests that were sent, beyond the first of each call.
    pub hedges: u64,
    /// Hedges that were granted and not sent: the call ended before the inner service was ready, or the service failed to
    /// become ready. Their withdrawals were refunded.
    pub unsent: u64,
    /// Calls without a hedge because their request cannot be copied, or is not idempotent. A request without a copy
    /// counts when it first waits, any other when its hedge is due.
    pub not_resendable: u64,
    /// Calls with fewer hedges because the budget rejected one: too many attempts fail.
    pub rejected_by_health: u64,
    /// Calls with fewer hedges because the budget rejected one: the ratio was used up.
    pub rejected_by_ratio: u64,
}

/// The delay after which calls of one class are hedged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ClassDelay {
    /// The number of the class.
    pub class: usize,
    /// The delay in force; `None` with [`on_failure`](super::HedgeConfig::on_failure).
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration::optional"))]
    pub delay: Option<Duration>,
    /// The calls it was learnt from. Below 20 the delay is [`start`](super::HedgeConfig::start).
    pub samples: u32,
}

impl HedgeCounts {
    /// A hedge was refused.
    pub(super) const fn stop(&mut self, stop: Stop) {
        *match stop {
            Stop::Over => return,
            Stop::NotResendable => &mut self.not_resendable,
            Stop::Budget(RejectedBy::Health) => &mut self.rejected_by_health,
            Stop::Budget(RejectedBy::Ratio) => &mut self.rejected_by_ratio,
        } += 1;
    }
}
