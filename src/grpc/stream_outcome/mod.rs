//! How a stream ended, which only its trailers say.
//!
//! A breaker records a call when its head has come. For a unary call that fails, the head has the status; a stream
//! fails later, with a head that looked well. [`StreamOutcomeLayer`] reads the trailers and tells how it ended, once.

mod body;
pub mod future;
mod service;

pub use body::GrpcOutcomeBody;
pub use service::{StreamOutcome, StreamOutcomeLayer};
