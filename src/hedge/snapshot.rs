//! What a hedge looks like at a glance.

use std::time::Duration;

use super::state::Stop;
use crate::retry_budget::{NoCredit, RetryBudgetSnapshot};

/// The counts of a hedge and what it has learnt, taken at one instant.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HedgeSnapshot {
    /// How calls ended.
    pub counts: HedgeCounts,
    /// The delay of each class of calls that anything is known of; that of number 0 always.
    pub classes: Vec<ClassDelay>,
    /// The budget, which other layers may share.
    pub budget: RetryBudgetSnapshot,
}

/// How calls ended, since the layer was built. Every call that is over is in exactly one of `won_by_primary`,
/// `won_by_hedge`, `failed` and `abandoned`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HedgeCounts {
    /// Calls that were answered by their first request, the primary.
    pub won_by_primary: u64,
    /// Calls that were answered by a hedge.
    pub won_by_hedge: u64,
    /// Calls that did not succeed.
    pub failed: u64,
    /// Calls whose future was dropped before it was done.
    pub abandoned: u64,
    /// Requests that were sent, beyond the first of each call.
    pub hedges: u64,
    /// Hedges that were granted and never sent: the call was over before the service below was ready for them, or that
    /// broke. Their credit went back.
    pub unsent: u64,
    /// Calls that might have been hedged if their request could be sent twice without harm. One whose request cannot be
    /// copied is counted when it first has to wait; another one when its hedge is due.
    pub not_repeatable: u64,
    /// Calls that were not hedged, or not once more, because the budget gave no credit: too many attempts fail.
    pub peer_was_ill: u64,
    /// Calls that were not hedged, or not once more, because the budget gave no credit: the share was used up.
    pub share_was_used_up: u64,
}

/// After what time calls of one class are hedged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassDelay {
    /// The number of the class.
    pub class: usize,
    /// The delay in force; `None` with [`on_failure`](super::HedgeConfig::on_failure).
    pub delay: Option<Duration>,
    /// Over how many calls it was learnt. Up to 20 it is the one from the start.
    pub samples: u32,
}

impl HedgeCounts {
    /// A hedge was refused.
    pub(super) const fn stop(&mut self, stop: Stop) {
        *match stop {
            Stop::Over => return,
            Stop::NotRepeatable => &mut self.not_repeatable,
            Stop::NoCredit(NoCredit::PeerIsIll) => &mut self.peer_was_ill,
            Stop::NoCredit(NoCredit::ShareIsUsedUp) => &mut self.share_was_used_up,
        } += 1;
    }
}
