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
//! A stack has a stage with one circuit per key. Give its retry the same key: each host then has its own retry budget
//! too, and a call that opens the circuit of its host ends with its failure.
//!
//! ```
//! use tower_reliability::{
//!     ReliabilityStack, circuit_breaker::CircuitBreakerConfig, retry::RetryConfig,
//! };
//!
//! #[derive(Clone)]
//! struct Query { tenant: u32 }
//! fn tenant(query: &Query) -> u32 { query.tenant }
//!
//! let stack = ReliabilityStack::builder()
//!     .retry(RetryConfig::new().per_key(tenant))
//!     .circuit_breaker(CircuitBreakerConfig::new().per_key(tenant))
//!     .build()?;
//! let circuits = stack.circuit_breaker();
//! assert!(circuits.get(&7).is_none(), "no call of this tenant so far");
//! # Ok::<(), tower_reliability::ConfigError>(())
//! ```
//!
//! Over HTTP, `per_authority()` is the key of host and port, and `http::standard()` begins with both stages.
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
