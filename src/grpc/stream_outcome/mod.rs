//! The outcome of a stream, which only its trailers tell.
//!
//! A breaker counts a call at its head. The head of a failed unary call carries its status; a stream fails later,
//! after a good head. [`StreamOutcomeLayer`] reads the trailers and tells, once, how the stream ended: it calls a
//! closure, and settles the calls that inner breakers [deferred](super::GrpcClassifier::deferred).
//!
//! A stream that its reader drops before the end has no vote in a breaker, and the closure hears
//! [`Ignored`](crate::Outcome::Ignored). [`StreamOutcomeLayer::abandoned`] changes that.

mod body;
pub mod future;
mod service;

pub(super) use future::watch_pending;

pub use body::GrpcOutcomeBody;
pub use service::{StreamOutcome, StreamOutcomeLayer};
