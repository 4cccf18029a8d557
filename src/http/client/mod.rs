//! An HTTP client that a struct can name, made of a stack and of hyper's client or any other.
//!
//! ```
//! use std::time::Duration;
//! use hyper::{Request, body::Incoming};
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use tower_reliability::{
//!     ConfigError, Error,
//!     circuit_breaker::CircuitBreakerConfig,
//!     http::{self, HttpClient},
//!     retry::RetryConfig,
//! };
//!
//! #[derive(Clone)]
//! struct Api {
//!     http: HttpClient,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stack = http::stack()
//!     .timeout(Duration::from_secs(10))
//!     .retry(RetryConfig::new())
//!     .circuit_breaker(CircuitBreakerConfig::new())
//!     .attempt_timeout(Duration::from_secs(2))
//!     .build()?;
//! let hyper = Client::builder(TokioExecutor::new()).build_http();
//! let api = Api { http: stack.client(hyper) };
//!
//! let request = Request::get("http://127.0.0.1:9/").body(String::new())?;
//! match api.http.send(request).await {
//!     Ok(response) => println!("{}", response.status()),
//!     Err(Error::Rejected(rejected)) => println!("rejected by {rejected}"),
//!     Err(error) => println!("{}", error.report()),
//! }
//! # Ok(()) }
//! ```
//!
//! The body of a request may have any type. The stack sees it as a [`ReplayBody`](super::ReplayBody) of a [`BoxBody`],
//! so retries and hedges can send it again. A client of hyper-util takes its body type from there: leave the type to the
//! compiler, or name it `Client<HttpConnector, ReplayBody<BoxBody>>`.
//!
//! # Defaults
//!
//! | setter | default |
//! |---|---|
//! | [`max_replay_bytes`](HttpClient::max_replay_bytes) | 64 KiB |

mod body;
mod service;

pub use body::BoxBody;
pub use service::HttpClient;
