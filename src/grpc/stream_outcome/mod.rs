//! How a stream ended, which only its trailers say.
//!
//! A breaker records a call when its head has come. For a unary call that fails, the head has the status; a stream
//! fails later, with a head that looked well. [`StreamOutcomeLayer`] reads the trailers and tells how it ended, once: a
//! closure, and the breakers below that wait for it because of [`deferred`](super::GrpcClassifier::deferred).

mod body;
pub mod future;
mod pending_outcomes;
mod service;

pub(super) use pending_outcomes::PendingOutcomes;

pub use body::GrpcOutcomeBody;
pub use service::{StreamOutcome, StreamOutcomeLayer};
