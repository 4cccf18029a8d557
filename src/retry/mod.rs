//! Sends failed requests again, under a budget.
//!
//! Another attempt follows a failed one if all of these rules hold. Otherwise the failure is the result of the call.
//!
//! 1. The [class of the failure](RetryConfig::on) is retried, and neither the backend nor an inner hop forbids it.
//! 2. It was not the [last attempt](RetryConfig::max_attempts).
//! 3. The request can be copied and may be sent twice: [`Resend`](crate::Resend) decides both. A request that no backend
//!    has processed need not be idempotent.
//! 4. The inner [circuit](RetryLayer::stop_while) is not open.
//! 5. The attempt can end in time: the deadline of the request leaves more than the delay and the typical time of an
//!    attempt.
//! 6. The [budget](crate::retry_budget) grants it.
//!
//! During the delay the call holds neither the failed response nor a place in the inner service. It waits for the inner
//! service to become ready after the delay. If that service fails to become ready, its error is the result of the call;
//! the retry does not classify it.
//!
//! **The default protocol takes every request for idempotent** ([`CloneRequest`](crate::CloneRequest)). Around HTTP use
//! `http::HttpResend`, so that a POST is not sent twice.
//!
//! ```
//! use std::{io, sync::atomic::{AtomicU32, Ordering}, time::Duration};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_reliability::retry::RetryConfig;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! static ASKED: AtomicU32 = AtomicU32::new(0);
//! let config = RetryConfig::exponential(Duration::from_millis(50)).max_attempts(3);
//! let retry = config.build()?;
//! let handle = retry.handle();
//! let backend = service_fn(|n: u32| async move {
//!     match ASKED.fetch_add(1, Ordering::Relaxed) {
//!         0 | 1 => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
//!         _ => Ok(n + 1),
//!     }
//! });
//! let mut service = ServiceBuilder::new().layer(retry).service(backend);
//! assert_eq!(service.ready().await?.call(1).await?, 2);
//! assert_eq!(handle.snapshot().counts.retries, 2);
//! # Ok(()) }
//! ```
//!
//! # Endpoints
//!
//! A `Retry-After` delays the next attempt, because it says when this endpoint takes requests again. A balancer can tell
//! the call's [`CallHistory`](crate::CallHistory::visit_one_of) how many endpoints it has. The next attempt then goes to
//! another endpoint, and waits only for the retry's own delay.
//!
//! # In a breaker's window
//!
//! Around a breaker, each attempt is a sample of the breaker. Inside a breaker, each call is one sample. In a stack, the
//! failure that opens the circuit is the result of its call; single layers set [`stop_while`](RetryLayer::stop_while).
//!
//! # Defaults
//!
//! | setting | default | range |
//! |---|---|---|
//! | [`max_attempts`](RetryConfig::max_attempts) | 3, the first included | at least 1 |
//! | backoff | [`exponential`](RetryConfig::exponential), 50 ms | any; an adaptive one above 0; 1 to 8 listed delays |
//! | [`multiplier`](RetryConfig::multiplier) | 2 | 1 to 100 |
//! | [`max_delay`](RetryConfig::max_delay) | 20 s | any |
//! | [`jitter`](RetryConfig::jitter) | [`Jitter::Full`] | |
//! | [`max_elapsed`](RetryConfig::max_elapsed) | no limit | above 0 |
//! | [`max_retry_after`](RetryConfig::max_retry_after) | 60 s | any |
//! | [`on`](RetryConfig::on) | connection, timeout, rate limit, server | |
//! | [`other_endpoints`](RetryConfig::other_endpoints) | off | |
//!
//! # Telemetry
//!
//! | event | when | severity | fields |
//! |---|---|---|---|
//! | [`Retried`](crate::EventKind::Retried) | a further attempt was sent | debug | `attempt`, `class`, `delay` |
//! | [`KeysExhausted`](crate::EventKind::KeysExhausted) | a [keyed](KeyedRetryLayer) layer has no room for a key | warning | `max_keys` |
//! | [`Reconfigured`](crate::EventKind::Reconfigured) | [`update`](RetryHandle::update) replaced the numbers | info | |
//!
//! Listeners are added by the [layer](RetryLayer::listen) and by the [handle](RetryHandle::listen). `tracing` gets the
//! same events, with the target `tower_reliability` and the fields `layer`, `event`, `attempt`, `class` and `delay_ms`.
//! At DEBUG it also gets the reason why no attempt followed a failure, as the field `stop`. The
//! [snapshot](RetryHandle::snapshot) counts all of this.
//!
//! # Panics
//!
//! A delay above zero needs a tokio runtime with time enabled, when the delay begins and while it lasts. Outside of a
//! runtime no attempt follows, and the failure is the answer. In a runtime without `enable_time` the call panics, as
//! `tokio::time::sleep` does. A call that is polled in another runtime, after its own was shut down, goes on there.
//! Calls without a delay need no runtime.

mod backoff;
mod config;
pub mod future;
mod handle;
pub mod keyed;
mod layer;
mod policy;
#[cfg(feature = "serde")]
mod serde;
mod service;
mod snapshot;
mod state;
mod stats;

pub use backoff::Jitter;
pub use config::{RetryConfig, RetryPolicy};
pub use handle::RetryHandle;
pub use keyed::{KeyedRetry, KeyedRetryHandle, KeyedRetryLayer};
pub use layer::RetryLayer;
pub use policy::{OnePolicy, Policies};
pub use service::Retry;
pub use snapshot::RetrySnapshot;
pub use state::Stop;
pub use stats::{AttemptRecord, ClassCounts, RetryCounts};
