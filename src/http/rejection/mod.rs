//! Rejections as HTTP answers.

mod answer;
pub mod future;
mod service;

pub use answer::{Answers, Problem};
pub use service::{Rejection, RejectionLayer};
