//! The machine: which endpoints there are, and which of them get calls.

#[cfg(all(test, not(shuttle)))]
mod model;
mod outlier;
mod set;

pub(super) use outlier::Counts;
pub(super) use set::{Change, Eligible, Member, Standing, State};
