//! HTTP answers to rejected calls.

mod answer;
pub mod future;
mod jitter;
mod service;

#[cfg(feature = "grpc")]
pub(crate) use jitter::Jitter;

pub use answer::{Answers, DetailedProblem, Problem};
pub use service::{DetailedRejectionLayer, Rejection, RejectionLayer};
