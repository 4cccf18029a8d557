//! One budget and one memory per key, so that a dead host does not use up the retries of the others.
//!
//! ```
//! use tower_reliability::retry::RetryConfig;
//!
//! #[derive(Clone)]
//! struct Request { host: String }
//! let layer = RetryConfig::new()
//!     .build()?
//!     .keyed(|request: &Request| request.host.clone())
//!     .max_keys(500);
//! # let _: tower_reliability::retry::KeyedRetryLayer<String, _> = layer;
//! # Ok::<(), tower_reliability::ConfigError>(())
//! ```
//!
//! A [`ReliabilityStack`](crate::ReliabilityStack) has such a stage: `.retry(RetryConfig::new().per_key(..))`, and over
//! HTTP `.retry(RetryConfig::new().per_authority())`.
//!
//! # Defaults
//!
//! | setting | default | range |
//! |---|---|---|
//! | [`max_keys`](KeyedRetryLayer::max_keys) | 1 000 keys | at least 1 |

mod handle;
mod layer;
mod service;

pub use handle::KeyedRetryHandle;
pub use layer::KeyedRetryLayer;
pub use service::KeyedRetry;
