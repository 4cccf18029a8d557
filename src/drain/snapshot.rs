//! The state of a drain, for operators.

use std::time::Duration;

/// The end of a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DrainReport {
    /// The calls that finished after the drain had begun, by an answer, an error or a drop.
    pub finished: u64,
    /// The calls in flight at the limit. They go on until the server drops them.
    pub left: u64,
    /// The time from the begin of the drain to the report.
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub waited: Duration,
}

/// The state of a drain, and the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DrainSnapshot {
    /// The phase.
    pub phase: DrainPhase,
    /// The calls in flight.
    pub in_flight: u64,
    /// The calls that the layer rejected.
    pub rejected: u64,
}

/// The phase of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum DrainPhase {
    /// No drain has begun.
    Serving,
    /// A drain has begun, and its [`delay`](super::DrainConfig::delay) is not over.
    Announced,
    /// New calls are rejected.
    Closed,
}
