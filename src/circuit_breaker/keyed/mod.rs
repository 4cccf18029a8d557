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

pub mod future;
mod handle;
mod layer;
mod service;

pub use handle::KeyedCircuitBreakerHandle;
pub use layer::KeyedCircuitBreakerLayer;
pub use service::KeyedCircuitBreaker;
