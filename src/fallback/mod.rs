//! Another answer, where a call was turned away or failed.
//!
//! | what to answer with | | a call that succeeds costs |
//! |---|---|---|
//! | [`value`](FallbackLayer::value) | a clone of a value | – |
//! | [`with`](FallbackLayer::with) | what a function makes of the rejection, the error or the response | – |
//! | [`service`](FallbackLayer::service) | what another service says to a copy of the request | the copy |
//! | [`last_good`](FallbackLayer::last_good) | the last good answer for the same key, while it is not too old | its key, a clone of the answer, a lock for a moment |
//!
//! It answers what was turned away on this side: by an open circuit, a full queue, a timeout, a deadline. Failures of
//! the peer, be they errors or responses such as a 503, are answered by their class, where
//! [`FallbackConfig::on`] names it. If there is no other answer, because the function gave `None`, the other service
//! failed too, or nothing is remembered, then the caller gets the original result. It stands outermost, around the
//! layers whose rejections it answers.
//!
//! Each answer that comes from here is counted by its [`Cause`], and may be [marked](FallbackLayer::mark).
//!
//! ```
//! use std::{io, sync::atomic::{AtomicU32, Ordering}, time::Duration};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_reliability::{Error, ErrorClass, fallback::FallbackConfig, timeout::TimeoutConfig};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let fallback = FallbackConfig::new()
//!     .on(ErrorClass::Connection)
//!     .ttl(Duration::from_secs(600))
//!     .build()?
//!     .last_good(|thing: &&'static str| Some(*thing));
//! let handle = fallback.handle();
//!
//! // The first answer is good; then the connection breaks, and then the peer falls silent.
//! let asked = AtomicU32::new(0);
//! let mut prices = ServiceBuilder::new()
//!     .layer(fallback)
//!     .layer(TimeoutConfig::new(Duration::from_secs(1)).build()?)
//!     .map_err(Error::inner)
//!     .service(service_fn(|thing: &'static str| {
//!         let n = asked.fetch_add(1, Ordering::Relaxed);
//!         async move {
//!             match n {
//!                 0 => Ok(format!("{thing}: 250")),
//!                 1 => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
//!                 _ => std::future::pending().await,
//!             }
//!         }
//!     }));
//! for _ in 0..3 {
//!     assert_eq!(prices.ready().await?.call("tea").await?, "tea: 250");
//! }
//! assert_eq!(handle.snapshot().answered.failed(ErrorClass::Connection), 1);
//! assert_eq!(handle.snapshot().answered.rejected(), 1);
//!
//! // Of coffee nothing is remembered, so the original result is returned.
//! assert!(matches!(prices.ready().await?.call("coffee").await, Err(Error::Rejected(_))));
//! # Ok(()) }
//! ```

mod answers;
mod cause;
mod config;
pub mod future;
mod handle;
mod last_good;
mod layer;
mod mark;
mod other;
mod service;
mod snapshot;
mod source;

pub use cause::{Cause, Failed};
pub use config::FallbackConfig;
pub use handle::FallbackHandle;
pub use last_good::LastGood;
pub use layer::FallbackLayer;
pub use mark::{Mark, Unmarked};
pub use other::Other;
pub use service::Fallback;
pub use snapshot::{FallbackCounts, FallbackSnapshot};
pub use source::{Isolate, Source, Unset, Value, With};
