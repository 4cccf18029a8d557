//! HTTP: what a response says, deadlines in request extensions, and rejections as answers.
//!
//! A client, over hyper or anything else that is a service of HTTP requests:
//!
//! ```
//! use std::time::Duration;
//! use tower_reliability::{
//!     circuit_breaker::CircuitBreakerConfig,
//!     http::{HttpClassifier, RequestExtensions},
//!     stack::ReliabilityStack,
//! };
//!
//! let stack = ReliabilityStack::builder()
//!     .timeout(Duration::from_secs(10))
//!     .circuit_breaker(CircuitBreakerConfig::new())
//!     .attempt_timeout(Duration::from_secs(2))
//!     .classify(HttpClassifier::new())
//!     .limits(RequestExtensions)
//!     .build()?;
//! # let _ = stack;
//! # Ok::<(), tower_reliability::ConfigError>(())
//! ```
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

pub mod body_deadline;
mod classify;
mod errors;
mod extensions;
mod fallback;
pub mod rejection;
mod retry_after;

pub use body_deadline::{BodyDeadline, BodyDeadlineLayer, DeadlineBody};
pub use classify::HttpClassifier;
pub use extensions::{RequestExtensions, RequestTimeout};
pub use fallback::{FellBack, mark_fallback};
pub use rejection::{Rejection, RejectionLayer};
