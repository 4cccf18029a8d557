//! HTTP answers to rejected calls.

mod answer;
pub mod future;
mod service;

pub use answer::{Answers, DetailedProblem, Problem};
pub use service::{DetailedRejectionLayer, Rejection, RejectionLayer};
