//! One limit per key, so that one client or tenant cannot take the permits of the others.
//!
//! ```
//! use tower_reliability::concurrency_limit::ConcurrencyLimitConfig;
//!
//! struct Request { tenant: u32 }
//! let layer = ConcurrencyLimitConfig::new(4)
//!     .build()?
//!     .keyed(|request: &Request| request.tenant)
//!     .max_keys(500);
//! assert!(layer.handle().get(&7).is_none(), "no call of this tenant so far");
//! # let _: tower_reliability::concurrency_limit::KeyedConcurrencyLimitLayer<u32, _> = layer;
//! # Ok::<(), tower_reliability::ConfigError>(())
//! ```
//!
//! Each key has the limit and the queue of the config. Put a limit without keys inside it to bound the sum.
//!
//! # Defaults
//!
//! | setting | default | range |
//! |---|---|---|
//! | [`max_keys`](KeyedConcurrencyLimitLayer::max_keys) | 1 000 keys | at least 1 |
//!
//! Each limit has the numbers of its [`ConcurrencyLimitConfig`](super#defaults).

mod handle;
mod layer;
mod service;

pub use handle::KeyedConcurrencyLimitHandle;
pub use layer::KeyedConcurrencyLimitLayer;
pub use service::KeyedConcurrencyLimit;
