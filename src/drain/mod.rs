//! A gate for graceful shutdown: it stops admission, lets the calls in flight finish, and reports the rest.
//!
//! [`DrainHandle::drain`] begins the drain and waits for its end. From then on the layer rejects new calls with
//! [`Draining`](crate::Reason::Draining), while the calls in flight go on. A call is in flight from `call` to its
//! response, or to the end of the response body if a classifier [defers](DrainLayer::classify) it. A drain has no way
//! back.
//!
//! ```
//! use std::time::Duration;
//! use tower::{Layer, Service, ServiceExt, service_fn};
//! use tower_reliability::{BoxError, drain::DrainConfig};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let layer = DrainConfig::new().limit(Duration::from_secs(10)).build()?;
//! let handle = layer.handle();
//! let mut service = layer.layer(service_fn(|n: u32| async move { Ok::<_, BoxError>(n + 1) }));
//! assert_eq!(service.ready().await?.call(1).await?, 2);
//!
//! // On SIGTERM:
//! let report = handle.drain().await;
//! assert_eq!(report.left, 0);
//! assert!(service.ready().await?.call(1).await.is_err());
//! # Ok(()) }
//! ```
//!
//! # Shutdown of a server
//!
//! 1. The drain begins, and [`is_draining`](DrainHandle::is_draining) is true. A readiness endpoint outside this layer
//!    then answers 503, so that a load balancer sends no further requests.
//! 2. For the [`delay`](DrainConfig::delay) the layer still admits calls, because a load balancer takes time to notice.
//! 3. Then the layer rejects new calls. `http::RejectionLayer` answers 503 with `Connection: close`, and
//!    `grpc::GrpcRejectionLayer` answers `UNAVAILABLE`. Clients may send these requests to another server.
//! 4. The drain ends with the last call, or at the [`limit`](DrainConfig::limit). The layer does not end a call: the
//!    calls that are left go on until the server drops them.
//! 5. The server closes its connections, and the process ends.
//!
//! A server flushes a body after the body has ended for this layer. So let the server shut down gracefully after the
//! drain. The example `server_drain` shows it with axum.
//!
//! # Defaults
//!
//! | setting | default | range |
//! |---|---|---|
//! | [`delay`](DrainConfig::delay) | 0 | any |
//! | [`limit`](DrainConfig::limit) | 25 s | above 0 |
//! | [`classify`](DrainLayer::classify) | [`UntilResponse`](crate::UntilResponse) | |
//!
//! # Telemetry
//!
//! | event | severity | when |
//! |---|---|---|
//! | [`DrainBegan`](crate::EventKind::DrainBegan) | info | the drain begins |
//! | [`DrainEnded`](crate::EventKind::DrainEnded) | info, or warning if calls are left | the first wait for the drain ends |
//! | [`Reconfigured`](crate::EventKind::Reconfigured) | info | [`DrainHandle::update`] |
//!
//! A rejected call emits no event, and [`DrainSnapshot::rejected`] counts it.
//!
//! # Runtime
//!
//! Calls need no runtime. A drain that has to wait needs a tokio runtime with time enabled. Outside of a runtime it does
//! not wait, and reports the calls that are left. The layer starts no task.

#[cfg(all(test, shuttle))]
mod concurrency;
mod config;
pub mod future;
mod gate;
mod handle;
mod layer;
#[cfg(all(test, not(shuttle)))]
mod model;
mod service;
mod snapshot;
mod state;

pub use config::DrainConfig;
pub use handle::DrainHandle;
pub use layer::DrainLayer;
pub use service::Drain;
pub use snapshot::{DrainPhase, DrainReport, DrainSnapshot};
