//! A limit on how long a call may take, which knows the deadline of the whole request.
//!
//! Whatever is earlier counts: the limit, or the deadline that came with the request. They are different reasons:
//! a peer that did not answer within the limit has [timed out](crate::Reason::Timeout); a caller that had less time
//! left than the limit has met its [deadline](crate::Reason::DeadlineExceeded), which is not the peer's fault.
//!
//! The same layer serves for the whole call and for each attempt; what differs is where it stands.
//!
//! ```
//! use std::time::Duration;
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_reliability::{BoxError, Rejected, timeout::TimeoutConfig};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), BoxError> {
//! let mut service = ServiceBuilder::new()
//!     .layer(TimeoutConfig::new(Duration::from_secs(2)).build()?)
//!     .service(service_fn(|_: ()| std::future::pending::<Result<(), BoxError>>()));
//! let error = service.ready().await?.call(()).await.unwrap_err();
//! assert_eq!(error.downcast_ref::<Rejected>().unwrap().to_string(), "timeout: no answer within 2s");
//! # Ok(()) }
//! ```

mod config;
pub mod future;
mod handle;
mod layer;
mod service;
mod state;

pub use config::TimeoutConfig;
pub use handle::{TimeoutHandle, TimeoutSnapshot};
pub use layer::TimeoutLayer;
pub use service::Timeout;
