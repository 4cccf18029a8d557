//! The arithmetic of the strategies. Random numbers, counters and the time come as arguments.

mod cost;
mod order;
mod ramp;
mod stride;

pub(super) use cost::Ewma;
pub(super) use order::{Index, accepts, below, two_of};
pub(super) use ramp::ramp;
pub(super) use stride::Weighted;

#[cfg(all(test, not(shuttle)))]
pub(in crate::balance) mod vectors;
