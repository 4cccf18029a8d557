//! Rejections as HTTP answers.

mod answer;
pub mod future;
mod service;

pub use service::{Rejection, RejectionLayer};
