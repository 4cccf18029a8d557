//! A request body that can be sent again.
//!
//! A body is a stream: once sent it is gone, and a retry has nothing left to send. [`ReplayBody`] keeps what streams
//! through it, up to a cap, for the copies that were taken of it; [`ReplayLayer`] gives every request such a body.
//! The rest of a body that an earlier attempt was still streaming is [taken over](ReplayBody::take_over).
//!
//! ```
//! use bytes::Bytes;
//! use http_body_util::{BodyExt, Full};
//! use tower_reliability::http::ReplayBody;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_reliability::BoxError> {
//! let mut body = ReplayBody::new(Full::new(Bytes::from("an order")));
//! let copy = body.copy().ok_or("too large")?;
//! assert!(!copy.can_replay()); // the body itself is still about to be sent
//!
//! assert_eq!(body.collect().await?.to_bytes(), "an order"); // the first attempt
//! assert!(copy.can_replay());
//! assert_eq!(copy.collect().await?.to_bytes(), "an order"); // the second
//! # Ok(()) }
//! ```

mod body;
mod error;
mod pass;
mod recording;
mod service;
mod shared;

pub use body::ReplayBody;
pub use error::CannotReplay;
pub use service::{Replay, ReplayLayer};

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
