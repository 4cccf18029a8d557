//! HTTP: what a response says, which requests may be sent again, deadlines in request extensions, and rejections as
//! answers.
//!
//! A client, over hyper or anything else that is a service of HTTP requests:
//!
//! ```
//! use std::time::Duration;
//! use tower_reliability::{circuit_breaker::CircuitBreakerConfig, http, retry::RetryConfig};
//!
//! let stack = http::stack()
//!     .timeout(Duration::from_secs(10))
//!     .retry(RetryConfig::new())
//!     .circuit_breaker(CircuitBreakerConfig::new())
//!     .attempt_timeout(Duration::from_secs(2))
//!     .build()?;
//! # let _ = stack;
//! # Ok::<(), tower_reliability::ConfigError>(())
//! ```
//!
//! What sends a request again asks [`HttpResend`] whether it may; a [`ReplayLayer`] outside it gives requests a body
//! that can be sent twice. The peer learns of it by `x-retry-attempt` in the request; callers further out learn of it by
//! the same header in the response, which [`ReportAttemptsLayer`] writes, and stand down.
//!
//! A server, where rejections become answers; `Router::layer` compiles as it stands:
//!
//! ```
//! use std::time::Duration;
//! use axum::{Router, routing::get};
//! use tower_reliability::{http::RejectionLayer, stack::ReliabilityStack};
//!
//! let stack = ReliabilityStack::builder().timeout(Duration::from_secs(2)).build()?;
//! let app: Router = Router::new().route("/", get(|| async { "hello" })).layer((RejectionLayer, stack));
//! # Ok::<(), tower_reliability::ConfigError>(())
//! ```

pub mod attempts;
pub mod body_deadline;
pub mod body_read_timeout;
mod classify;
pub(crate) mod errors;
mod extensions;
pub mod reconnect;
pub mod rejection;
pub mod replay;
pub(crate) mod resend;
mod retry_after;
pub(crate) mod retry_attempt;
mod stack;

pub use attempts::{ReportAttempts, ReportAttemptsLayer};
pub use body_deadline::{BodyDeadline, BodyDeadlineLayer, DeadlineBody};
pub use body_read_timeout::{BodyReadTimeout, BodyReadTimeoutLayer, ReadTimeoutBody};
pub use classify::HttpClassifier;
pub use extensions::{Attempt, Idempotent, RequestExtensions, RequestTimeout};
pub use reconnect::{Reconnect, ReconnectLayer, TrackedConnector};
pub use rejection::{Answers, DetailedProblem, DetailedRejectionLayer, Problem, Rejection, RejectionLayer};
pub use replay::{CannotReplay, Replay, ReplayBody, ReplayLayer};
pub use resend::HttpResend;
pub use stack::{protocol, stack};
