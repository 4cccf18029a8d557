//! Trying again, where it helps and as long as it does no harm.
//!
//! An attempt that failed is followed by another one if all of this holds; otherwise its result is the call's:
//!
//! 1. failures of its class [are tried again](RetryConfig::on), and neither the peer nor somebody nearer to it objects;
//! 2. it was not the [last attempt](RetryConfig::max_attempts);
//! 3. the request can be sent twice without harm: [`Resend`](crate::Resend) says so, or the peer has not seen it;
//! 4. the attempt could end in time: what remains until the request's deadline is more than the delay and what an
//!    attempt takes as a rule;
//! 5. the [budget](crate::retry_budget) gives credit.
//!
//! While it waits it holds neither the failed response nor a place in the service below. It waits for that service to be
//! ready after the delay, not before.
//!
//! ```
//! use std::{io, sync::atomic::{AtomicU32, Ordering}, time::Duration};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_reliability::retry::RetryConfig;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! static ASKED: AtomicU32 = AtomicU32::new(0);
//! let retry = RetryConfig::exponential(Duration::from_millis(50)).max_attempts(3).build()?;
//! let handle = retry.handle();
//! let mut service = ServiceBuilder::new().layer(retry).service(service_fn(|n: u32| async move {
//!     match ASKED.fetch_add(1, Ordering::Relaxed) {
//!         0 | 1 => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
//!         _ => Ok(n + 1),
//!     }
//! }));
//! assert_eq!(service.ready().await?.call(1).await?, 2);
//! assert_eq!(handle.snapshot().counts.retries, 2);
//! # Ok(()) }
//! ```
//!
//! # In a breaker's window
//!
//! Around a breaker, every attempt is a sample of the breaker's. Inside a breaker, every call is.

mod backoff;
mod config;
pub mod future;
mod handle;
mod layer;
mod policy;
#[cfg(feature = "serde")]
mod serde;
mod service;
mod snapshot;
mod state;
mod stats;

pub use backoff::Jitter;
pub use config::{RetryConfig, RetryPolicy};
pub use handle::RetryHandle;
pub use layer::RetryLayer;
pub use policy::{OnePolicy, Policies};
pub use service::Retry;
pub use snapshot::RetrySnapshot;
pub use state::Stop;
pub use stats::{AttemptRecord, ClassCounts, RetryCounts};
