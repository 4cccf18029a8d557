//! A limit on the calls in flight, with a queue in front that serves calls by priority and within their deadlines.
//!
//! A call takes a permit and returns it at its end. If no permit is free, the call waits in a
//! [queue](crate::wait_queue): critical before high before normal before low, the oldest first. The permit of a call that
//! ends goes to the next call in the queue, and a new call never overtakes. A free permit costs a call no lock and no
//! allocation.
//!
//! ```
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_reliability::{
//!     BoxError, Priority, concurrency_limit::ConcurrencyLimitConfig, wait_queue::WaitQueueConfig,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let queue = WaitQueueConfig::new().capacity(100);
//! let limit = ConcurrencyLimitConfig::new(20).queue(queue).build()?.priority(|path: &&str| {
//!     if path.starts_with("/pay") { Priority::Critical } else { Priority::Normal }
//! });
//! let handle = limit.handle();
//! let service = ServiceBuilder::new()
//!     .layer(limit)
//!     .service(service_fn(|path: &'static str| async move { Ok::<_, BoxError>(path.len()) }));
//! assert_eq!(service.oneshot("/pay").await?, 4);
//! assert_eq!(handle.snapshot().in_flight, 0);
//! # Ok(()) }
//! ```
//!
//! # Rejections
//!
//! | reason | a call without a free permit |
//! |---|---|
//! | [`ConcurrencyLimited`](crate::Reason::ConcurrencyLimited) | may not wait: the limit has no queue |
//! | [`QueueFull`](crate::Reason::QueueFull) | found a full queue, or was evicted from it |
//! | [`QueueTimeout`](crate::Reason::QueueTimeout) | waited too long, or would have to |
//! | [`Shed`](crate::Reason::Shed) | was shed, because calls had been waiting too long |
//! | [`DeadlineExceeded`](crate::Reason::DeadlineExceeded) | has less time than it would have to wait |
//!
//! A rejection says when the queue is drained, by the pace at which calls were served lately. Until the first calls were
//! served out of a queue the pace is unknown, and the rejection says `max_wait`.
//!
//! [`keyed`](ConcurrencyLimitLayer::keyed) gives each client or tenant a limit of its own.
//!
//! # An adaptive limit
//!
//! [`adaptive`](ConcurrencyLimitConfig::adaptive) lets the limit learn how many calls the backend serves at once:
//!
//! ```
//! use tower_reliability::concurrency_limit::{AdaptiveLimitConfig, ConcurrencyLimitConfig};
//!
//! let bounds = AdaptiveLimitConfig::new().floor(10).ceiling(400);
//! let handle = ConcurrencyLimitConfig::new(40).adaptive(bounds).build()?.handle();
//! println!("{} calls, {:?} each", handle.snapshot().limit, handle.snapshot().baseline);
//! # Ok::<(), tower_reliability::ConfigError>(())
//! ```
//!
//! Calls beyond the capacity of a backend queue inside it, and take longer. The limit compares the median time of a
//! window with the baseline, which is the median without such a queue. A short queue raises the limit, and a long queue
//! lowers it. A limit that calls do not need stays as it is. From time to time, and when the times stay long, a *probe*
//! halves the limit for some tens of calls to measure the baseline again. So a long overload does not raise the baseline
//! and the limit, and a backend that became slower for good gets its limit back.
//!
//! | outcome of a call | the limit |
//! |---|---|
//! | success, or a response that began | takes its time, until the head of the response |
//! | `RateLimit`, `Timeout` | falls to 0.9, if a tenth of the calls of a window end so; once per burst |
//! | `Validation`, or a deadline of the caller | takes its time as the least that the call would have taken |
//! | dropped while it waits for its answer | the same |
//! | `Authentication`, `Connection`, `Server`, `Unknown` | nothing: a failure may be faster than any work |
//! | `Ignored`, such as a rejection on this side | nothing |
//!
//! [`classify`](ConcurrencyLimitLayer::classify) names the classifier. The default one knows no failures, and an error then
//! teaches nothing. The time in which the caller still sends the request does not count. With many calls, one in up to 32
//! is measured. Routes whose times differ by far need limits of their own: a change of the mix looks like a change of the
//! backend. The same holds for requests that are refused before the work, such as those without a key: refuse them
//! outside of the limit. In shadow mode there are no probes.
//!
//! # Defaults
//!
//! | setting | default | range |
//! |---|---|---|
//! | [limit](ConcurrencyLimitConfig::new) | none: each layer names its limit | 1 to 1 000 000 |
//! | [`adaptive`](ConcurrencyLimitConfig::adaptive) | off: the limit is fixed | |
//! | [`adaptive.floor`](AdaptiveLimitConfig::floor) | 4 calls, or the first limit if that is lower | 1 to the first limit |
//! | [`adaptive.ceiling`](AdaptiveLimitConfig::ceiling) | 1 000 calls, or the first limit if that is higher | the first limit to 1 000 000 |
//! | [`adaptive.window`](AdaptiveLimitConfig::window) | 250 ms | 10 ms to 1 min |
//! | [`adaptive.probe_every`](AdaptiveLimitConfig::probe_every) | 30 s | 1 s to 1 day |
//! | [`queue`](ConcurrencyLimitConfig::queue) | [1 000 calls for 1 s](crate::wait_queue#defaults) | |
//! | [`shadow`](ConcurrencyLimitConfig::shadow) | off | |
//! | [`classify`](ConcurrencyLimitLayer::classify) | [`UntilResponse`](crate::UntilResponse) | |
//! | [`priority`](ConcurrencyLimitLayer::priority) | [`NoPriority`](crate::NoPriority) | |
//! | [`deadlines`](ConcurrencyLimitLayer::deadlines) | [`NoDeadline`](crate::NoDeadline) | |
//!
//! # Telemetry
//!
//! | event | when | severity | fields |
//! |---|---|---|---|
//! | [`Rejected`](crate::EventKind::Rejected) | the limit rejected a call | debug | `reason`, `priority`, `waited` |
//! | [`SheddingChanged`](crate::EventKind::SheddingChanged) | the queue began to shed calls, or sheds calls of other priorities | warning | `up_to` |
//! | | the queue stopped shedding calls | info | |
//! | [`LimitChanged`](crate::EventKind::LimitChanged) | an adaptive limit differs by a quarter from that of the last such event | info | `from`, `to` |
//! | [`KeysExhausted`](crate::EventKind::KeysExhausted) | a [keyed] limit found no room for a new key, for the first time | warning | `max_keys` |
//! | [`Reconfigured`](crate::EventKind::Reconfigured) | [`update`](ConcurrencyLimitHandle::update) replaced the numbers | info | |
//!
//! A call that waits, and is served or dropped, emits no event. Listeners are added by the
//! [layer](ConcurrencyLimitLayer::listen) and by the [handle](ConcurrencyLimitHandle::listen). `tracing` gets the same
//! events, with the target `tower_reliability` and the fields `layer`, `event`, `priority` and `waited_ms`. The
//! [snapshot](ConcurrencyLimitHandle::snapshot) counts the calls that waited or were rejected.
//!
//! # Runtime
//!
//! A call with a free permit needs no runtime. A call that waits needs a tokio runtime with time enabled, because it
//! gives up after `max_wait`. Outside of a runtime it is rejected with [`NoRuntime`](crate::Reason::NoRuntime), and the
//! snapshot counts it as cancelled. The layer starts no task.

mod adaptive;
#[cfg(all(test, shuttle))]
mod concurrency;
mod config;
pub mod future;
mod handle;
pub mod keyed;
mod layer;
mod pace;
mod permit;
mod permits;
mod service;
mod snapshot;
mod state;

pub use adaptive::AdaptiveLimitConfig;
pub use config::ConcurrencyLimitConfig;
pub use handle::ConcurrencyLimitHandle;
pub use keyed::{KeyedConcurrencyLimit, KeyedConcurrencyLimitHandle, KeyedConcurrencyLimitLayer};
pub use layer::ConcurrencyLimitLayer;
pub use service::ConcurrencyLimit;
pub use snapshot::{ConcurrencyLimitCounts, ConcurrencyLimitSnapshot};
