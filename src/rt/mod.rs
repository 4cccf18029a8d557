//! The runtime that every layer shares: the clock, the descent context, and the primitives of shared state.

pub(crate) mod clock;
pub(crate) mod descent;
pub(crate) mod sync;
