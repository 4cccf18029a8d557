//! Layers that hold a place for a call until the end of the response body.
//!
//! A call ends with the head of its response, unless a classifier [defers](crate::Outcome::Deferred) it. [`UntilBodyEnd`]
//! defers every response and leaves the place, such as a permit, with the response. [`BodyOutcomeLayer`] stands outside
//! and moves the place into the body.

mod body;
mod classify;
pub mod future;
mod service;

pub use body::OutcomeBody;
pub use classify::UntilBodyEnd;
pub use service::{BodyOutcome, BodyOutcomeLayer};
