//! What a budget looks like at a glance.

/// How much credit a budget gives at one instant, and how often it gave none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RetryBudgetSnapshot {
    /// How many retries there is credit for.
    pub balance: f64,
    /// The share of the recent attempts that failed; five successes are assumed beforehand.
    pub failure_rate: f64,
    /// The share of the retries that the health of the peer lets through.
    pub gate: f64,
    /// How many retries and hedges were sent on its credit.
    pub spent: u64,
    /// How many got no credit because the peer was ill.
    pub peer_was_ill: u64,
    /// How many got no credit because the share was used up.
    pub share_was_used_up: u64,
}

impl RetryBudgetSnapshot {
    /// Of a budget that counts nothing.
    pub(super) const UNLIMITED: Self = Self {
        balance: f64::INFINITY,
        failure_rate: 0.0,
        gate: 1.0,
        spent: 0,
        peer_was_ill: 0,
        share_was_used_up: 0,
    };
}
