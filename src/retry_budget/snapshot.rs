//! The counts of a budget.

/// The balance and the counts of a budget at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RetryBudgetSnapshot {
    /// How many retries the ratio and the reserve grant now. Infinite, and so `null` in JSON, for a budget without a
    /// limit.
    pub balance: f64,
    /// The ratio of failures in the recent attempts. Five successes are assumed beforehand.
    pub failure_rate: f64,
    /// The ratio of the retries that the health rule lets pass.
    pub health_gate: f64,
    /// Retries and hedges that were withdrawn and sent.
    pub spent: u64,
    /// Withdrawals that the health rule rejected.
    pub rejected_by_health: u64,
    /// Withdrawals that the ratio rejected.
    pub rejected_by_ratio: u64,
}

impl RetryBudgetSnapshot {
    /// For a budget that counts nothing.
    pub(super) const UNLIMITED: Self = Self {
        balance: f64::INFINITY,
        failure_rate: 0.0,
        health_gate: 1.0,
        spent: 0,
        rejected_by_health: 0,
        rejected_by_ratio: 0,
    };
}
