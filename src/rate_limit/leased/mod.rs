//! A limit that several instances keep together, such as all replicas of a gateway. No call waits for the network.
//!
//! A [source](QuotaSource) that all instances share holds the bucket: Redis, or for one process the memory. Each instance
//! holds a lease: a few units that it has taken from the bucket. A call takes a unit of the lease without a lock. At half
//! of the lease, a task of its own asks the source for more.
//!
//! ```
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_reliability::{BoxError, rate_limit::{RateLimitConfig, leased::MemoryQuota}};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let source = MemoryQuota::new(); // or with the feature `redis`: `RedisQuota::open("redis://…")?`
//! let limit = RateLimitConfig::per_second(1_000).leased().instances(4).build("prices", source)?;
//! let service = ServiceBuilder::new()
//!     .layer(limit)
//!     .service(service_fn(|n: u32| async move { Ok::<_, BoxError>(n) }));
//! assert_eq!(service.oneshot(1).await?, 1);
//! # Ok(()) }
//! ```
//!
//! A limit for each client is `.build("clients", source)?.keyed(|request: &Request| request.client())`.
//!
//! # How exact it is
//!
//! The source holds half of the burst. The other half is for the instances: each may hold a lease of `burst / (4 ×
//! instances)` units, and give out as many on credit before it asks. The source charges credit in any case. So in **any**
//! time `t`, all instances together let at most `rate × t + burst` calls pass, as one local limit does. This holds for up to
//! [`instances`](LeasedRateLimitConfig::instances) instances and a burst of at least four units per instance. A lease has
//! one unit at least, and each further instance may add two leases.
//!
//! Units that an instance holds have no end. They are a part of the burst, and a restarted instance loses them: a few.
//!
//! Choose the burst with this in mind. An instance that asks for the first time can let a lease pass at once, and the next
//! calls some milliseconds later. A client that sends six requests at once to a limit per client needs a burst of 24 units
//! per instance.
//!
//! # When the source is lost
//!
//! The instance learns it by an error, or by the [timeout](LeasedRateLimitConfig::timeout). Then it goes on with its
//! [share](LeasedRateLimitConfig::grace) for the grace, and after that lets [all calls or none](AfterGrace) pass. It asks the
//! source again four times a second, as long as there are calls, and recovers by itself. A source that comes back without
//! its buckets adds half a burst.
//!
//! A slow source is not lost. Its answers come late, so an instance lets one or two leases pass in the time of one answer.
//! With the default burst, a second's worth, four instances reach their limit over a source that needs 100 ms.
//!
//! # Rejections
//!
//! | reason | a call | next try |
//! |---|---|---|
//! | [`RateLimited`](crate::Reason::RateLimited) | finds too few units | when the bucket of the source has a unit again |
//! | [`CostTooHigh`](crate::Reason::CostTooHigh) | costs more than the burst | never |
//!
//! # Defaults
//!
//! | setting | default | range |
//! |---|---|---|
//! | [`instances`](LeasedRateLimitConfig::instances) | 4 | 1 to 10 000 |
//! | [`timeout`](LeasedRateLimitConfig::timeout) | 250 ms | 1 ms to 10 s |
//! | [`grace`](LeasedRateLimitConfig::grace) | 1 min | at most 31 days |
//! | [`after_grace`](LeasedRateLimitConfig::after_grace) | [`AfterGrace::Open`] | |
//! | [`max_keys`](LeasedRateLimitLayer::max_keys) | 100 000 keys | at least 1 |
//!
//! The limit is a [`RateLimitConfig`](super#defaults) with a rate, without a window and without a queue.
//!
//! # In a file
//!
//! With the feature `serde`, a config comes from a file. This file has all keys; all but `limit` are optional:
//!
//! ```
//! # #[cfg(feature = "serde")] {
//! # use std::time::Duration;
//! # use tower_reliability::rate_limit::{RateLimitConfig, leased::{AfterGrace, LeasedRateLimitConfig}};
//! let config: LeasedRateLimitConfig = toml::from_str(r#"
//!     limit = { per_second = 1000, burst = 2000 }
//!     instances = 8
//!     timeout = "100ms"
//!     grace = "5m"
//!     after_grace = "closed"         # or "open"
//! "#)?;
//! # let set = RateLimitConfig::per_second(1_000).burst(2_000).leased().instances(8);
//! # let set = set.timeout(Duration::from_millis(100)).grace(Duration::from_secs(300));
//! # assert_eq!(config, set.after_grace(AfterGrace::Closed));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Telemetry
//!
//! | event | severity | when |
//! |---|---|---|
//! | [`QuotaSourceLost`](crate::EventKind::QuotaSourceLost) | warning | the source does not answer |
//! | [`QuotaSourceRecovered`](crate::EventKind::QuotaSourceRecovered) | info | the source answers again |
//! | [`KeysExhausted`](crate::EventKind::KeysExhausted) | warning | a new key finds no room |
//! | [`Reconfigured`](crate::EventKind::Reconfigured) | info | a handle has replaced the numbers |
//!
//! A rejected call emits no event: the [snapshot](LeasedRateLimitHandle::snapshot) counts it.
//!
//! # Runtime
//!
//! A call needs a tokio runtime with time enabled, on which the questions to the source run: at most one at a time for each
//! key, and 1 024 for a layer. A call outside a runtime takes it for a lost source. Dropping the layer and its services
//! aborts the questions.

mod config;
mod gcra;
mod handle;
mod health;
mod layer;
mod leases;
mod memory;
mod service;
mod snapshot;
mod source;
mod state;
mod units;

pub use config::{AfterGrace, LeasedRateLimitConfig};
pub use handle::LeasedRateLimitHandle;
pub use layer::LeasedRateLimitLayer;
pub use leases::{LeasePerKey, Leases, OneLease};
pub use memory::MemoryQuota;
pub use service::LeasedRateLimit;
pub use snapshot::LeasedRateLimitSnapshot;
pub use source::{Grant, QuotaRequest, QuotaSource};
