//! A body that has to arrive by the request's deadline too.
//!
//! A timeout ends with the head of the response. A server that sends the head at once and the body never would hold
//! its caller for ever; this layer holds the body to the same deadline.

mod body;
pub mod future;
mod service;

pub use body::DeadlineBody;
pub use service::{BodyDeadline, BodyDeadlineLayer};
