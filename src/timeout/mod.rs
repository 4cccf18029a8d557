//! A limit on how long a call may take, which respects the deadline of the whole request.
//!
//! The earlier of the limit and the request's deadline ends the call, and the reason of the rejection tells them apart.
//! A backend that did not answer within the limit has [timed out](crate::Reason::Timeout). A caller with less time left
//! than the limit has met its [deadline](crate::Reason::DeadlineExceeded), which is not the backend's fault.
//!
//! The same layer limits the whole call or each attempt, depending on its position. Around an attempt,
//! [`after_upload`](TimeoutLayer::after_upload) starts the limit when the request has been sent.
//!
//! ```
//! use std::{future::pending, time::Duration};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_reliability::{BoxError, Rejected, timeout::TimeoutConfig};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let mut service = ServiceBuilder::new()
//!     .layer(TimeoutConfig::new(Duration::from_secs(2)).build()?)
//!     .service(service_fn(|_: ()| pending::<Result<(), BoxError>>()));
//! let error = service.ready().await?.call(()).await.unwrap_err();
//! let rejected = error.downcast_ref::<Rejected>().unwrap();
//! assert_eq!(rejected.to_string(), "timeout: no answer within 2s");
//! # Ok(()) }
//! ```
//!
//! # Defaults
//!
//! | setting | default | range |
//! |---|---|---|
//! | [limit](TimeoutConfig::new) | none: each timeout names its limit | above 0 |
//! | [`yielding`](TimeoutConfig::yielding) | off: the limit is chosen | |
//! | [`deadlines`](TimeoutLayer::deadlines) | [`NoDeadline`](crate::NoDeadline) | |
//! | [`after_upload`](TimeoutLayer::after_upload) | off; on in the attempt timeout of a stack | |
//!
//! # Telemetry
//!
//! | event | when | severity | fields |
//! |---|---|---|---|
//! | [`TimedOut`](crate::EventKind::TimedOut) | the timeout ended a call, or rejected it because its deadline had passed | debug | `reason` |
//! | [`Reconfigured`](crate::EventKind::Reconfigured) | [`update`](TimeoutHandle::update) replaced the limit | info | |
//!
//! Listeners are added by the [layer](TimeoutLayer::listen) and by the [handle](TimeoutHandle::listen). `tracing` gets
//! the same events, with the target `tower_reliability` and the fields `layer` and `event`. The
//! [snapshot](TimeoutHandle::snapshot) counts them by reason.
//!
//! # Runtime
//!
//! A call that is ready at once needs no runtime. A call that waits needs a tokio runtime with time enabled:
//! `#[tokio::main]` has it, and `tokio::runtime::Builder` has it after `enable_time` or `enable_all`. Outside of a runtime
//! the call is rejected with [`NoRuntime`](crate::Reason::NoRuntime), and no snapshot counts it. In a runtime without
//! `enable_time` the call's future panics, because tokio's timer does. A call that is polled in another runtime, after its
//! own was shut down, goes on there. Paused time moves the limit.

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
