//! Answers rejected and failed calls with something else.
//!
//! | answer | content | cost of a call that succeeds |
//! |---|---|---|
//! | [`value`](FallbackBuilder::value) | a clone of a value | – |
//! | [`with`](FallbackBuilder::with) | the result of a function, which sees the response or the error | – |
//! | [`service`](FallbackBuilder::service) | the response of another service to a copy of the request | the copy |
//! | [`last_good`](FallbackBuilder::last_good) | the last good answer for the same key (stale if error) | its key, a clone of the answer, a short lock |
//!
//! A fallback answers every rejection on this side: by an open circuit, a timeout or a deadline, and also by an inner
//! stack. The fallback answers a failure of the backend, an error or a response such as a 503, only if
//! [`FallbackConfig::on`] names the class of the failure. It has no answer if the function returns `None`, the other
//! service fails, or no good answer is remembered. Then the caller gets the original result. A response that is handed
//! back is whole: the fallback does not touch the body or the connection of a response that it holds.
//!
//! The fallback is the outermost layer, around the layers whose rejections it answers. It counts each answer by its
//! cause; see [`FallbackSnapshot`].
//!
//! ```
//! use std::{io, sync::atomic::{AtomicU32, Ordering}, time::Duration};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_reliability::{
//!     Error, ErrorClass, fallback::FallbackConfig, timeout::TimeoutConfig,
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let fallback = FallbackConfig::new()
//!     .on(ErrorClass::Connection)
//!     .ttl(Duration::from_secs(600))
//!     .build()?
//!     .last_good(|article: &&'static str| Some(*article));
//! let handle = fallback.handle();
//!
//! // The backend answers once, then breaks the connection, then falls silent.
//! let calls = AtomicU32::new(0);
//! let mut prices = ServiceBuilder::new()
//!     .layer(fallback)
//!     .layer(TimeoutConfig::new(Duration::from_secs(1)).build()?)
//!     .map_err(Error::inner)
//!     .service(service_fn(|article: &'static str| {
//!         let n = calls.fetch_add(1, Ordering::Relaxed);
//!         async move {
//!             match n {
//!                 0 => Ok(format!("{article}: 250")),
//!                 1 => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
//!                 _ => std::future::pending().await,
//!             }
//!         }
//!     }));
//! for _ in 0..3 {
//!     assert_eq!(prices.ready().await?.call("tea").await?, "tea: 250");
//! }
//! assert_eq!(handle.snapshot().answered_failures[ErrorClass::Connection], 1);
//! assert_eq!(handle.snapshot().answered_rejections, 1);
//!
//! // No answer for coffee is remembered, so the caller gets the rejection.
//! let coffee = prices.ready().await?.call("coffee").await;
//! assert!(matches!(coffee, Err(Error::Rejected(_))));
//! # Ok(()) }
//! ```
//!
//! # Defaults
//!
//! | number | default | range |
//! |---|---|---|
//! | [`on`](FallbackConfig::on) | no class: rejections only | any classes |
//! | [`max_entries`](FallbackConfig::max_entries) | 1,024 answers | 1 and more |
//! | [`ttl`](FallbackConfig::ttl) | 300 s | above 0 |
//!
//! # Telemetry
//!
//! | event | when | severity | fields |
//! |---|---|---|---|
//! | [`FellBack`](crate::EventKind::FellBack) | the fallback answered a call | debug | `class` |
//! | [`Reconfigured`](crate::EventKind::Reconfigured) | [`update`](FallbackHandle::update) replaced the numbers | info | |
//!
//! Listeners are added by the [layer](FallbackLayer::listen) and by the [handle](FallbackHandle::listen). `tracing`
//! gets the same events, with the target `tower_reliability` and the fields `layer`, `event` and `class`. The
//! [snapshot](FallbackHandle::snapshot) counts them by class, and also counts the calls without an answer.

mod answer;
mod config;
pub mod future;
mod handle;
mod last_good;
mod layer;
mod memory;
mod other;
mod service;
mod snapshot;
mod state;

pub(crate) use answer::Source;
pub use answer::With;
pub use config::FallbackConfig;
pub use handle::FallbackHandle;
pub use last_good::LastGood;
pub use layer::{FallbackBuilder, FallbackLayer};
pub use other::Other;
pub use service::Fallback;
pub use snapshot::FallbackSnapshot;
