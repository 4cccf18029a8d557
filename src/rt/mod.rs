//! The runtime that every layer shares: the clock, and the primitives of shared state.

pub(crate) mod clock;
pub(crate) mod sync;
