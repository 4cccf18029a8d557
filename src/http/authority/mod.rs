//! State per host and port of the backend, so that one dead host does not stop the calls to the others.
//!
//! ```
//! use std::time::Duration;
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use tower_reliability::{
//!     circuit_breaker::CircuitBreakerConfig,
//!     http::{self, Authority},
//!     retry::RetryConfig,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stack = http::stack()
//!     .retry(RetryConfig::new().per_authority())
//!     .circuit_breaker(CircuitBreakerConfig::new().per_authority())
//!     .attempt_timeout(Duration::from_secs(2))
//!     .build()?;
//! let hyper = Client::builder(TokioExecutor::new()).build_http();
//! let client = stack.client(hyper);
//!
//! let request = hyper::Request::get("http://127.0.0.1:9/").body(String::new())?;
//! println!("{:?}", client.send(request).await);
//! let host: Authority = "127.0.0.1:9".parse()?;
//! println!("{:?}", stack.circuit_breaker().get(&host));
//! # Ok(()) }
//! ```
//!
//! [`standard`](super::standard) begins with these two stages.

mod key;
mod source;

pub use key::{Authority, InvalidAuthority};
pub use source::{ByAuthority, PerAuthority};
