//! One budget and the learnt delays per key, so that a slow host does not delay the hedges of the others.
//!
//! ```
//! use tower_reliability::hedge::HedgeConfig;
//!
//! #[derive(Clone)]
//! struct Request { host: String }
//! let layer = HedgeConfig::new()
//!     .build()?
//!     .keyed(|request: &Request| request.host.clone())
//!     .max_keys(500);
//! # let _: tower_reliability::hedge::KeyedHedgeLayer<String, _> = layer;
//! # Ok::<(), tower_reliability::ConfigError>(())
//! ```
//!
//! A [`ReliabilityStack`](crate::ReliabilityStack) has such a stage: `.hedge(HedgeConfig::new().per_key(..))`, and over
//! HTTP `.hedge(HedgeConfig::new().per_authority())`.
//!
//! # Defaults
//!
//! | setting | default | range |
//! |---|---|---|
//! | [`max_keys`](KeyedHedgeLayer::max_keys) | 1 000 keys | at least 1 |

mod handle;
mod layer;
mod service;

pub use handle::KeyedHedgeHandle;
pub use layer::KeyedHedgeLayer;
pub use service::KeyedHedge;
