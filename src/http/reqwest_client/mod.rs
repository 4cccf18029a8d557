//! reqwest behind a stack, with the habits of reqwest.
//!
//! ```
//! use std::time::Duration;
//! use tower_reliability::{
//!     Error,
//!     circuit_breaker::CircuitBreakerConfig,
//!     http::{self, ReqwestClient},
//!     retry::RetryConfig,
//! };
//!
//! #[derive(Clone)]
//! struct Weather {
//!     http: ReqwestClient,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stack = http::stack()
//!     .timeout(Duration::from_secs(10))
//!     .retry(RetryConfig::new())
//!     .circuit_breaker(CircuitBreakerConfig::new())
//!     .attempt_timeout(Duration::from_secs(2))
//!     .build()?;
//! let client = reqwest::Client::builder().retry(reqwest::retry::never()).build()?;
//! let weather = Weather { http: stack.reqwest(client) };
//!
//! match weather.http.get("http://127.0.0.1:9/today").send().await {
//!     Ok(response) => println!("{}", response.text().await?),
//!     Err(Error::Rejected(rejected)) => println!("rejected by {rejected}"),
//!     Err(error) => println!("{}", error.report()),
//! }
//! # Ok(()) }
//! ```
//!
//! reqwest retries some requests by itself, without a budget, and the stack does not see it. Switch that off with
//! `reqwest::retry::never()`. A timeout of the stack ends when the head of the response arrives; reqwest's own timeouts
//! also cover the body.
//!
//! reqwest follows redirects inside the stack. An attempt ends with the last answer, and a circuit or a budget
//! [per authority](crate::http::ByAuthority) counts it for the host of the URL that the caller wrote, even if another
//! host has failed. With `redirect::Policy::none()` the caller follows redirects, and each host counts for itself.

mod client;
mod request;

pub use client::ReqwestClient;
pub use request::ReqwestRequest;
