//! The rate that a limit has learnt, for operators.

use std::time::Duration;

/// The rate of an adaptive limit.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AdaptiveRateSnapshot {
    /// The rate in force, in tokens per second: the learnt rate, or less while a quota of the backend bounds it.
    pub per_second: f64,
    /// The learnt rate, in tokens per second.
    pub learnt_per_second: f64,
    /// The rest of the pause that the backend has asked for. `None` if there is none.
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration::optional"))]
    pub paused_for: Option<Duration>,
    /// How often congestion has lowered the rate since the layer was built.
    pub decreases: u64,
}
