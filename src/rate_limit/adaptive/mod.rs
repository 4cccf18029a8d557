//! A rate that adapts to the backend.
//!
//! A limit with a fixed rate needs to know the quota of its provider, or the capacity of its backend. An adaptive limit
//! lowers its rate when the backend is congested, and raises it again while calls want more. It learns from the calls that
//! pass it:
//!
//! ```
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_reliability::{
//!     BoxError, ErrorClass, Outcome,
//!     rate_limit::{RateLimitConfig, adaptive::AdaptiveRateConfig},
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), BoxError> {
//! let limit = RateLimitConfig::per_second(100)
//!     .max_wait(Duration::from_secs(2))
//!     .adaptive(AdaptiveRateConfig::new())
//!     .build()?
//!     .classify(|result: Result<&&str, &BoxError>| match result {
//!         Ok(&"too many requests") => Outcome::failure(ErrorClass::RateLimit),
//!         _ => Outcome::Success,
//!     });
//! let handle = limit.handle();
//! let provider = service_fn(|()| async { Ok::<_, BoxError>("too many requests") });
//! ServiceBuilder::new().layer(limit).service(provider).oneshot(()).await?;
//! let rate = handle.snapshot().adaptive.expect("the limit adapts");
//! assert_eq!((rate.per_second.round(), rate.decreases), (70.0, 1));
//! # Ok(()) }
//! ```
//!
//! A stack of a client classifies by its protocol, so HTTP and gRPC need no `classify`. A limit without a classifier, as
//! in a stack of a server, learns from latency alone: set a [target](AdaptiveRateConfig::target_latency).
//!
//! # Rules
//!
//! | answer | effect |
//! |---|---|
//! | [`RateLimit`](crate::ErrorClass::RateLimit), [`Timeout`](crate::ErrorClass::Timeout): 429, 503 with `Retry-After`, `RESOURCE_EXHAUSTED`, 504, a full attempt timeout | lowers the rate to [70 %](AdaptiveRateConfig::decrease_factor) |
//! | more than half of ten answers slower than [`target_latency`](AdaptiveRateConfig::target_latency) | the same |
//! | [`retry_after`](crate::Outcome::retry_after) of a `RateLimit` answer | no call passes for so long; the rate is kept |
//! | a [quota](crate::Classifier::quota), such as the field `RateLimit` of HTTP | spreads the rest of the quota over the time until its reset; with nothing left, no call passes until then |
//! | success, [`Validation`](crate::ErrorClass::Validation) | raises the rate, if calls find too few tokens |
//! | any other | none |
//!
//! - **Once per burst**: an answer to a call that began before the last decrease does not lower the rate again.
//! - **Recovery**: the rate is back at its former value after [5 s](AdaptiveRateConfig::recover_within) of use, and then
//!   goes on up to the [ceiling](AdaptiveRateConfig::ceiling). A limit that holds up no call does not grow.
//! - **A pause ends evenly**: the bucket is empty at its end, so no burst follows.
//! - **A quota of HTTP that is reset within a second** has no effect: the field counts whole seconds, and a bucket that
//!   refills a hundred times per second tells a second too.
//! - **A call that is dropped** counts as a slow answer, once it has waited longer than the target. Otherwise it has no
//!   effect.
//!
//! A change of the rate keeps the debt of the bucket in tokens: it neither forgives nor stalls. The
//! [burst](super::RateLimitConfig::burst) does not change with the rate, so keep it small for a provider with a quota.
//!
//! A limit [per key](super::keyed) does not adapt: all its keys share the numbers, and a machine per key would take
//! several times the memory of the key's bucket. [`keyed`](super::RateLimitLayer::keyed) ignores these numbers, and a stack
//! refuses them.
//!
//! # Defaults
//!
//! | setting | default | range |
//! |---|---|---|
//! | [`floor`](AdaptiveRateConfig::floor) | a hundredth of the rate, at least 1 | 1 to the rate |
//! | [`ceiling`](AdaptiveRateConfig::ceiling) | the rate | the rate to 1 call per microsecond |
//! | [`decrease_factor`](AdaptiveRateConfig::decrease_factor) | 0.7 | 0.1 to 0.95 |
//! | [`recovery`](AdaptiveRateConfig::recovery) | [`Recovery::Cubic`] | |
//! | [`recover_within`](AdaptiveRateConfig::recover_within) | 5 s | 100 ms to 1 h |
//! | [`target_latency`](AdaptiveRateConfig::target_latency) | none | above 0 |
//!
//! # Telemetry
//!
//! | event | when | severity | fields |
//! |---|---|---|---|
//! | [`RateChanged`](crate::EventKind::RateChanged) | congestion has lowered the rate | warning | `from`, `to` |
//! | the same | the rate is back at its value before the last decrease | info | the same |
//!
//! The [snapshot](super::RateLimitSnapshot::adaptive) has the rate of the moment.

mod config;
#[cfg(test)]
mod model;
mod snapshot;
mod state;
mod watch;

pub use config::{AdaptiveRateConfig, Recovery};
pub use snapshot::AdaptiveRateSnapshot;
pub use watch::{Watched, WatchedFuture};

pub(super) use config::Bounds;
pub(super) use state::{AdaptiveRate, Change, Demand, Ended};
pub(super) use watch::Watch;
