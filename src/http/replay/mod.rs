//! Request bodies that can be sent more than once, and that report how far they were sent.
//!
//! A body is a stream: once sent it is gone, and a retry has nothing left to send. [`ReplayBody`] records the data
//! that streams through it, up to a cap, for its copies. [`ReplayLayer`] gives each request such a body, and puts
//! an [`Upload`](crate::Upload) into the request's extensions. Timeouts and breakers read the progress there.
//!
//! ```
//! use bytes::Bytes;
//! use http_body_util::{BodyExt, Full};
//! use tower_reliability::{BoxError, http::ReplayBody};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let mut body = ReplayBody::new(Full::new(Bytes::from("an order")));
//! let copy = body.copy().ok_or("too large")?;
//! assert!(!copy.can_replay()); // the first attempt has not ended
//!
//! assert_eq!(body.collect().await?.to_bytes(), "an order"); // the first attempt
//! assert!(copy.can_replay());
//! assert_eq!(copy.collect().await?.to_bytes(), "an order"); // the second attempt
//! # Ok(()) }
//! ```
//!
//! # Defaults
//!
//! | setter | default |
//! |---|---|
//! | [`max_bytes`](ReplayLayer::max_bytes) | 64 KiB |

mod body;
mod error;
mod pass;
mod recording;
mod service;
mod shared;

pub(crate) use body::MAX_BYTES;
pub use body::ReplayBody;
pub use error::CannotReplay;
pub(crate) use pass::to_bytes;
pub use service::{Replay, ReplayLayer};
pub(crate) use service::{replayable, watch_upload};

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
