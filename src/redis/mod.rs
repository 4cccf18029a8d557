//! Limits across machines: [`RedisQuota`] keeps the buckets of [leased rate limits](crate::rate_limit::leased) in Redis.
//!
//! ```no_run
//! use tower_reliability::{rate_limit::RateLimitConfig, redis::RedisQuota};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let source = RedisQuota::open("redis://127.0.0.1:6379")?;
//! let layer = RateLimitConfig::per_second(1_000).leased().instances(4).build("prices", source)?;
//! # let _ = layer;
//! # Ok(()) }
//! ```
//!
//! A bucket is one key with one number, which expires as soon as the bucket is full. One Lua script reads it, charges and
//! grants, with the clock of Redis: the clocks of the instances do not matter. So any server with scripts works: Redis from
//! version 5, Valkey, and a cluster, in which each bucket lives on one node.
//!
//! # Loss
//!
//! A question that fails or that is dropped closes the connection, and the next one opens a new connection. So a silent
//! connection and a new primary are noticed within the [timeout](crate::rate_limit::leased::LeasedRateLimitConfig::timeout).
//! A task makes the connection, which takes a few round trips and up to 10 s. So choose a timeout above one round trip.
//! Redis may lose its buckets in a restart. They are full then, so the instances get a part of the burst once more.
//!
//! # Defaults
//!
//! | setting | default |
//! |---|---|
//! | [`prefix`](RedisQuota::prefix) | `tower_reliability:` |
//!
//! # Runtime
//!
//! The connection belongs to the tokio runtime of the question that opened it. Nothing connects before the first question,
//! and dropping the last clone ends the connection and the task that makes one.

mod connection;
mod quota;

pub use quota::RedisQuota;
