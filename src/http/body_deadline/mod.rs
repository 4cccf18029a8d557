//! A deadline for response bodies.
//!
//! A timeout ends with the head of the response. A server that sends the head at once and never the body would hold its
//! caller forever. This layer holds the body to the request's deadline.

mod body;
pub mod future;
mod service;

pub use body::DeadlineBody;
pub use service::{BodyDeadline, BodyDeadlineLayer};
