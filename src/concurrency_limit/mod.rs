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
//! # Defaults
//!
//! | setting | default | range |
//! |---|---|---|
//! | [limit](ConcurrencyLimitConfig::new) | none: each layer names its limit | 1 to 1 000 000 |
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

#[cfg(all(test, shuttle))]
mod concurrency;
mod config;
pub mod future;
mod handle;
pub mod keyed;
mod layer;
mod permits;
mod service;
mod snapshot;
mod state;

pub use config::ConcurrencyLimitConfig;
pub use handle::ConcurrencyLimitHandle;
pub use keyed::{KeyedConcurrencyLimit, KeyedConcurrencyLimitHandle, KeyedConcurrencyLimitLayer};
pub use layer::ConcurrencyLimitLayer;
pub use service::ConcurrencyLimit;
pub use snapshot::{ConcurrencyLimitCounts, ConcurrencyLimitSnapshot};
