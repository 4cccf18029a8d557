//! A guard for servers: a panic of the inner service becomes a rejection, and the server goes on.
//!
//! Without it, a panic in a handler ends the task of the connection, with every request on it. The guard ends the call
//! with [`Panicked`](crate::Reason::Panicked). `http::RejectionLayer` answers 500 with a fixed sentence, and
//! `grpc::GrpcRejectionLayer` answers `INTERNAL`. The text of the panic stays inside the process, with the panic hook.
//!
//! ```
//! use axum::{Router, routing::get};
//! use tower::ServiceBuilder;
//! use tower_reliability::{Error, http::RejectionLayer, panic_guard::PanicGuardLayer};
//!
//! let guard = PanicGuardLayer::new();
//! let panics = guard.handle();
//! let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(
//!     ServiceBuilder::new()
//!         .layer(RejectionLayer::new())
//!         .layer(guard)
//!         .map_err(Error::inner),
//! );
//! assert_eq!(panics.snapshot().panicked, 0);
//! # let _ = app;
//! ```
//!
//! The guard stands around all other layers, and directly inside the layer that answers rejections. It drops the call
//! that panicked, so the inner layers get back each permit and count the call as dropped.
//!
//! The guard catches panics in `poll_ready`, in `call`, and in the future of the call. It does not see a panic of a
//! response body that comes after the response. It has no effect in a program with `panic = "abort"`.
//!
//! # Telemetry
//!
//! | event | severity | when |
//! |---|---|---|
//! | [`Panicked`](crate::EventKind::Panicked) | error | the guard catches a panic |
//!
//! # Runtime
//!
//! The layer needs no runtime and starts no task.

pub mod future;
mod handle;
mod layer;
mod service;

pub use handle::{PanicGuardHandle, PanicGuardSnapshot};
pub use layer::PanicGuardLayer;
pub use service::PanicGuard;
