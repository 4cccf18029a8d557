//! A limit on the rate of calls: a token bucket, a sliding window, or both, with a queue by priority if calls may wait.
//!
//! A call takes a token, or several. The bucket refills evenly and holds a burst; a window admits so many calls in any
//! span of its length. A call that finds too few tokens is rejected with the exact time of the next try. Or it waits in a
//! [queue](crate::wait_queue): critical before high before normal before low, the oldest first. The wait is known when the
//! call arrives, so the queue refuses at once a call that would wait too long. A newcomer never overtakes. A call that
//! finds its token in the bucket costs no lock and no allocation.
//!
//! ```
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_reliability::{BoxError, Reason, Rejected, rate_limit::RateLimitConfig};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let hour = Duration::from_secs(60 * 60);
//! let limit = RateLimitConfig::per_second(100).burst(2).window(10_000, hour).build()?;
//! let service = ServiceBuilder::new()
//!     .layer(limit)
//!     .service(service_fn(|n: u32| async move { Ok::<_, BoxError>(n) }));
//! assert_eq!(service.clone().oneshot(1).await?, 1);
//! assert_eq!(service.clone().oneshot(2).await?, 2);
//! let error = service.oneshot(3).await.unwrap_err();
//! let rejected = error.downcast_ref::<Rejected>().unwrap();
//! assert_eq!(rejected.reason(), Reason::RateLimited);
//! assert!(rejected.retry_after().unwrap() <= Duration::from_millis(10));
//! # Ok(()) }
//! ```
//!
//! A server rejects, and a client waits for its quota:
//!
//! ```
//! # use std::time::Duration;
//! # use tower_reliability::rate_limit::RateLimitConfig;
//! let quota = RateLimitConfig::per_second(10).burst(1).max_wait(Duration::from_secs(30));
//! # quota.build()?;
//! # Ok::<(), tower_reliability::ConfigError>(())
//! ```
//!
//! The calls of each client have a limit of their own in [`keyed`], and several instances keep one limit in [`leased`].
//!
//! # Rejections
//!
//! | reason | a call that finds too few tokens | next try |
//! |---|---|---|
//! | [`RateLimited`](crate::Reason::RateLimited) | may not wait, or would wait too long; or was displaced or shed from the queue | when a call of its class and cost gets its turn |
//! | [`DeadlineExceeded`](crate::Reason::DeadlineExceeded) | has less time than it would have to wait | the same |
//! | [`CostTooHigh`](crate::Reason::CostTooHigh) | costs more than the burst, or than the window holds | never |
//!
//! Over HTTP these are 429, 504 and 413; over gRPC `RESOURCE_EXHAUSTED`, `DEADLINE_EXCEEDED` and `INVALID_ARGUMENT`. The
//! [counts](RateLimitCounts) tell why a call was limited. An outer retry does not repeat such a call, except at another
//! endpoint, and an outer breaker does not count it; see [`Rejected::outcome`](crate::Rejected::outcome).
//!
//! [`quotas`](RateLimitHandle::quotas) of a handle tells how much of a limit is left. An HTTP server can tell its clients, with
//! `http::ReportQuotasLayer`.
//!
//! # Defaults
//!
//! | setting | default | range |
//! |---|---|---|
//! | [`per_second`](RateLimitConfig::per_second), [`per`](RateLimitConfig::per) | none: each layer names a rate, a window or both | 1 call per hour to 1 per microsecond |
//! | [`burst`](RateLimitConfig::burst) | the calls of a period | 1 to 1 000 000 |
//! | [`window`](RateLimitConfig::window) | none | 1 to 1 000 000 000 calls, 1 ms to 31 days |
//! | [`max_wait`](RateLimitConfig::max_wait), [`queue`](RateLimitConfig::queue) | no call waits | above 0, at most 1 day |
//! | [`shadow`](RateLimitConfig::shadow) | off | |
//! | [`adaptive`](RateLimitConfig::adaptive) | the rate is fixed | [numbers](adaptive#defaults) |
//! | [`cost`](RateLimitLayer::cost) | [`UnitCost`] | |
//! | [`classify`](RateLimitLayer::classify) | [`UntilResponse`](crate::UntilResponse) | |
//! | [`priority`](RateLimitLayer::priority) | [`NoPriority`](crate::NoPriority) | |
//! | [`deadlines`](RateLimitLayer::deadlines) | [`NoDeadline`](crate::NoDeadline) | |
//!
//! # In a file
//!
//! With the feature `serde`, a config comes from TOML, JSON or any other format of serde. Unknown keys are refused. This
//! file has all keys. A file needs `per_second`, `per` or `window`; the other keys are optional:
//!
//! ```
//! # #[cfg(feature = "serde")] {
//! # use tower_reliability::rate_limit::{RateLimitConfig, adaptive::AdaptiveRateConfig};
//! let config: RateLimitConfig = toml::from_str(r#"
//!     per_second = 100               # or per = { calls = 5, period = "1m" }
//!     burst = 20
//!     window = { calls = 10000, length = "1h" }
//!     shadow = false
//!
//!     [adaptive]                     # without it, the rate is fixed
//!     floor = 1                      # calls per second, as the rate
//!     ceiling = 100
//!     decrease_factor = 0.7
//!     recovery = "cubic"             # or "additive"
//!     recover_within = "5s"
//!     target_latency = "200ms"       # off
//!
//!     [queue]                        # without it, no call waits
//!     max_wait = "2s"
//!     shed = "off"                   # these two are `max_wait` of the setters
//! "#)?;
//! # use std::time::Duration;
//! # let hour = Duration::from_secs(60 * 60);
//! # let set = RateLimitConfig::per_second(100).burst(20).window(10_000, hour).max_wait(Duration::from_secs(2));
//! # let numbers = AdaptiveRateConfig::new().floor(1).ceiling(100).target_latency(Duration::from_millis(200));
//! # assert_eq!(config, set.adaptive(numbers));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The keys of `queue` are those of [`StackConfig`](crate::stack::StackConfig#format).
//!
//! # Telemetry
//!
//! | event | when | severity | fields |
//! |---|---|---|---|
//! | [`Rejected`](crate::EventKind::Rejected) | the limit rejected a call | debug | `reason`, `priority`, `waited` |
//! | [`SheddingChanged`](crate::EventKind::SheddingChanged) | the queue begins to shed, sheds other classes, or stops | warning; info when it stops | `up_to` |
//! | [`RateChanged`](crate::EventKind::RateChanged) | an [adaptive](adaptive#telemetry) limit has lowered its rate, or is back | warning, info | `from`, `to` |
//! | [`Reconfigured`](crate::EventKind::Reconfigured) | [`update`](RateLimitHandle::update) replaced the numbers | info | |
//!
//! A call that waits, and passes or is dropped, emits no event; the [snapshot](RateLimitHandle::snapshot) counts it.
//! Listeners are added by the [layer](RateLimitLayer::listen) and by the [handle](RateLimitHandle::listen).
//!
//! # Runtime
//!
//! A call that does not wait needs no runtime. A call that waits needs a tokio runtime with time enabled. Outside of a
//! runtime it is rejected with [`NoRuntime`](crate::Reason::NoRuntime), and the snapshot counts it as cancelled. The
//! layer starts no task. The call at the head of the queue has the timer for the next token. If its task does not poll
//! it, the first call that misses its turn keeps the time: each call that is not polled delays the others by its own
//! turn at most. tokio's timers fire once per millisecond: a bucket whose burst is below the tokens of a millisecond
//! serves waiting calls more slowly than its rate.

pub mod adaptive;
mod bucket;
#[cfg(all(test, shuttle))]
mod concurrency;
mod config;
mod cost;
pub mod future;
mod handle;
pub mod keyed;
mod layer;
pub mod leased;
mod limits;
mod lockless;
mod quota;
mod rate;
#[cfg(feature = "serde")]
mod serde;
mod service;
mod snapshot;
mod state;
mod waiter;
mod window;

pub use config::RateLimitConfig;
pub use cost::{CostSource, UnitCost};
pub use handle::RateLimitHandle;
pub use layer::RateLimitLayer;
pub use quota::{Quota, QuotaSource, Quotas};
pub use service::RateLimit;
pub use snapshot::{RateLimitCounts, RateLimitSnapshot};
