//! One circuit per key, so that one bad host or route does not stop the calls to the others.
//!
//! ```
//! use tower_reliability::circuit_breaker::CircuitBreakerConfig;
//!
//! struct Request { host: String }
//! let layer = CircuitBreakerConfig::new()
//!     .build()?
//!     .keyed(|request: &Request| request.host.clone())
//!     .max_keys(500);
//! # let _: tower_reliability::circuit_breaker::KeyedCircuitBreakerLayer<String, _> = layer;
//! # Ok::<(), tower_reliability::ConfigError>(())
//! ```
//!
//! # Inside a stack
//!
//! A stack has no stage for a keyed breaker. Put the breaker inside the stack, and the timeout of an attempt inside the
//! breaker. `flat_errors()` keeps the rejections of the breaker and of the stack in one enum:
//!
//! ```
//! use std::time::Duration;
//! use bytes::Bytes;
//! use hyper::Request;
//! use http_body_util::Full;
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_reliability::{
//!     Error,
//!     circuit_breaker::CircuitBreakerConfig,
//!     http::{HttpClassifier, ReplayBody, ReplayLayer, RequestExtensions},
//!     retry::RetryConfig,
//!     timeout::TimeoutConfig,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! type Body = ReplayBody<Full<Bytes>>;
//! let stack = tower_reliability::http::stack()
//!     .timeout(Duration::from_secs(10))
//!     .retry(RetryConfig::new())
//!     .flat_errors()
//!     .build()?;
//! let hosts = CircuitBreakerConfig::consecutive(2)
//!     .build()?
//!     .classify(HttpClassifier::new())
//!     .deadlines(RequestExtensions)
//!     .keyed(|request: &Request<Body>| {
//!         request.uri().authority().map(ToString::to_string).unwrap_or_default()
//!     });
//! let circuits = hosts.handle();
//! let attempt = TimeoutConfig::new(Duration::from_secs(2))
//!     .build()?
//!     .deadlines(RequestExtensions)
//!     .after_upload();
//! let client = ServiceBuilder::new()
//!     .layer(ReplayLayer::new())
//!     .layer(stack)
//!     .layer(hosts)
//!     .layer(attempt)
//!     .map_err(Error::inner)
//!     .service(Client::builder(TokioExecutor::new()).build_http());
//!
//! let request = Request::get("http://127.0.0.1:9/").body(Full::<Bytes>::default())?;
//! let error = client.oneshot(request).await.unwrap_err();
//! // The second failure opened the circuit, and the retry met the open circuit.
//! assert!(matches!(error, Error::Rejected(_)));
//! let circuit = circuits.get(&"127.0.0.1:9".to_owned()).expect("the key was called");
//! assert_eq!(circuit.state().as_str(), "open");
//! # Ok(()) }
//! ```
//!
//! # Defaults
//!
//! | setting | default | range |
//! |---|---|---|
//! | [`max_keys`](KeyedCircuitBreakerLayer::max_keys) | 1 000 keys | at least 1 |
//!
//! Each circuit has the numbers of its [`CircuitBreakerConfig`](super#defaults).

pub mod future;
mod handle;
mod layer;
mod service;

pub use handle::KeyedCircuitBreakerHandle;
pub use layer::KeyedCircuitBreakerLayer;
pub use service::KeyedCircuitBreaker;
