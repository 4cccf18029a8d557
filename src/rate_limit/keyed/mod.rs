//! A limit per key, so that one greedy client does not use up the calls of the others.
//!
//! ```
//! use tower_reliability::rate_limit::{RateLimitConfig, keyed::KeyedRateLimitLayer};
//!
//! struct Request { tenant: u32 }
//! let layer = RateLimitConfig::per_second(10)
//!     .burst(50)
//!     .build()?
//!     .keyed(|request: &Request| request.tenant)
//!     .max_keys(1_000_000);
//! let handle = layer.handle();
//! assert_eq!(handle.snapshot().keys, 0, "no call so far");
//! # let _: KeyedRateLimitLayer<u32, _> = layer;
//! # Ok::<(), tower_reliability::ConfigError>(())
//! ```
//!
//! A call is rejected at once if its key has too few tokens, and the rejection says when to come again. The limit hashes
//! keys with a secret of its own, so no client can choose keys that collide. Calls of two keys seldom wait for each other:
//! the keys are spread over up to 64 locks, each held for a look at one key.
//!
//! Memory is bounded: see [`max_keys`](KeyedRateLimitLayer::max_keys). At the bound, a new key takes the place of a key that
//! has everything left, so there is no task to run. Keys may be large, such as a header. Make a key of bounded length
//! from it, or memory is not bounded.
//!
//! # Rejections
//!
//! | reason | a call | next try |
//! |---|---|---|
//! | [`RateLimited`](crate::Reason::RateLimited) | costs more than its key has left | when the key has enough |
//! | [`CostTooHigh`](crate::Reason::CostTooHigh) | costs more than the burst, or than the window holds | never |
//!
//! # Defaults
//!
//! | setting | default | range |
//! |---|---|---|
//! | [`max_keys`](KeyedRateLimitLayer::max_keys) | 100 000 keys | at least 1 |
//!
//! Each key has the numbers of the [`RateLimitConfig`](super#defaults), except for the queue.
//!
//! # Telemetry
//!
//! | event | severity | when |
//! |---|---|---|
//! | [`KeysExhausted`](crate::EventKind::KeysExhausted) | warning | a new key finds no room; at most once a minute |
//! | [`Reconfigured`](crate::EventKind::Reconfigured) | info | a handle has replaced the numbers |
//!
//! A rejected call emits no event: the [snapshot](KeyedRateLimitHandle::snapshot) counts it.

pub mod future;
mod handle;
mod key_limits;
mod layer;
mod service;
mod shard;
mod snapshot;
mod store;

pub use handle::KeyedRateLimitHandle;
pub use layer::KeyedRateLimitLayer;
pub(crate) use layer::MAX_KEYS;
pub use service::KeyedRateLimit;
pub use snapshot::KeyedRateLimitSnapshot;
