//! How a stream ended, which only its trailers say.
//!
//! A breaker records a call when its head has come. For a unary call that fails, the head has the status; a stream
//! fails later, with a head that looked well. [`StreamOutcomeLayer`] reads the trailers and tells how it ended, once: a
//! closure, and the breakers below that wait for it because of [`at_end`](super::GrpcClassifier::at_end).

mod body;
mod deferred;
pub mod future;
mod service;

pub(super) use deferred::Deferred;

pub use body::GrpcOutcomeBody;
pub use service::{StreamOutcome, StreamOutcomeLayer};
