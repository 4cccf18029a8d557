//! Sends a second request while the first is slow, and returns the first good answer.
//!
//! A slow call often has bad luck: a lost packet, a pause of the backend, a queue. A second request then comes back
//! before the first. The layer sends such a hedge
//!
//! - after a delay that 95 of 100 calls of the class do not need, [learnt](HedgeConfig::quantile) or
//!   [fixed](HedgeConfig::fixed), or only [after a failure](HedgeConfig::on_failure);
//! - at once after a [failure that another attempt may not have](HedgeConfig::on), or after a local rejection in front of
//!   one endpoint, such as by an open circuit.
//!
//! The request must be [safe to send twice](crate::Resend::may_resend), the call must have
//! [hedges left](HedgeConfig::max_hedges), and the [budget](crate::retry_budget) must grant the hedge. Without a grant
//! the call waits for its running requests, as if there were no hedge. [`Resend::prepare`](crate::Resend::prepare)
//! marks each attempt with its number and the history of the call, by which a balancer chooses another endpoint. A
//! hedge is no retry: it does not count in [`CallHistory::retries`](crate::CallHistory::retries).
//!
//! **The default protocol takes every request for idempotent** ([`CloneRequest`](crate::CloneRequest)). Around HTTP use
//! `http::HttpResend`, so that a slow POST is not sent twice.
//!
//! | end of an attempt | consequence |
//! |---|---|
//! | success | the answer of the call; the layer drops the other attempts |
//! | failure that every attempt would have (validation, authentication …) | the answer of the call; the layer drops the other attempts |
//! | failure that another attempt may not have (connection, timeout, server) | the next hedge, at once |
//! | rate limit, failure with a hint or that forbids a retry, local rejection | no further hedge; the call waits for its running attempts |
//! | last of such failures | the answer is the failure of the first attempt; if that one reached no backend, a failure of one that did |
//!
//! A hedge does not look at the deadline of a request. An inner service that fails to become ready for a hedge loses that
//! hedge, and the call goes on.
//!
//! ```
//! use std::{sync::atomic::{AtomicU32, Ordering}, time::Duration};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_reliability::hedge::HedgeConfig;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! static ASKED: AtomicU32 = AtomicU32::new(0);
//! let hedge = HedgeConfig::quantile(0.95).start(Duration::from_millis(100)).build()?;
//! let handle = hedge.handle();
//! let backend = service_fn(|n: u32| async move {
//!     // The first request is stuck for a minute.
//!     if ASKED.fetch_add(1, Ordering::Relaxed) == 0 {
//!         tokio::time::sleep(Duration::from_secs(60)).await;
//!     }
//!     Ok::<_, std::io::Error>(n + 1)
//! });
//! let mut service = ServiceBuilder::new().layer(hedge).service(backend);
//! let began = tokio::time::Instant::now();
//! assert_eq!(service.ready().await?.call(1).await?, 2);
//! assert!(began.elapsed() < Duration::from_millis(150));
//! assert_eq!(handle.snapshot().counts.won_by_hedge, 1);
//! # Ok(()) }
//! ```
//!
//! # The learnt delay
//!
//! The layer measures successful first attempts that had to wait, by [class](HedgeLayer::class_of): each of the first
//! 500, then one in eight, chosen beforehand. The last 500 to 1 000 samples make the quantile. An attempt that was
//! dropped, because a hedge was faster or the caller has gone, took at least so long. It is a sample too if it took
//! longer than the delay. Without this rule the layer would forget slow calls because they are slow.
//!
//! # In a breaker's window
//!
//! Around a breaker, every attempt that ends is a sample of the breaker. The layer drops the slower attempts. The breaker
//! judges a [dropped call](crate::circuit_breaker#cut-calls) by the time that the backend had.
//!
//! # Defaults
//!
//! | setting | default | range |
//! |---|---|---|
//! | delay | [`quantile`](HedgeConfig::quantile), 0.95 | above 0 and below 1 |
//! | [`start`](HedgeConfig::start) | 500 ms | any |
//! | [`min_delay`](HedgeConfig::min_delay) | 1 ms | at most a chosen `max_delay` |
//! | [`max_delay`](HedgeConfig::max_delay) | 10 s | any |
//! | [`max_hedges`](HedgeConfig::max_hedges) | 1 | 1 to 8 |
//! | [`on`](HedgeConfig::on) | connection, timeout, rate limit, server | |
//! | [`no_other_endpoints`](HedgeConfig::no_other_endpoints) | off | |
//!
//! # Telemetry
//!
//! | event | when | severity | fields |
//! |---|---|---|---|
//! | [`Hedged`](crate::EventKind::Hedged) | a hedge was sent | debug | `attempt`, `class`, `delay` |
//! | [`KeysExhausted`](crate::EventKind::KeysExhausted) | a [keyed](KeyedHedgeLayer) layer has no room for a key | warning | `max_keys` |
//! | [`Reconfigured`](crate::EventKind::Reconfigured) | [`update`](HedgeHandle::update) replaced the numbers | info | |
//!
//! Listeners are added by the [layer](HedgeLayer::listen) and by the [handle](HedgeHandle::listen). `tracing` gets the
//! same events, with the target `tower_reliability` and the fields `layer`, `event`, `attempt`, `class` and `delay_ms`.
//! At DEBUG it also gets the reason why a hedge was refused, as the field `stop`. The [snapshot](HedgeHandle::snapshot)
//! counts all of this.
//!
//! # Panics
//!
//! A delay above zero needs a tokio runtime with time enabled, while the call waits. Outside of a runtime no hedge follows
//! a delay, and the first attempt goes on alone. In a runtime without `enable_time` the call panics, as
//! `tokio::time::sleep` does. A call that is polled in another runtime, after its own was shut down, goes on there. A
//! call that is answered at once, or that hedges only after failures, needs no runtime.

mod attempt;
mod class;
mod config;
pub mod future;
mod handle;
mod keyed;
mod layer;
mod learning;
#[cfg(feature = "serde")]
mod serde;
mod service;
mod snapshot;
mod state;

pub use class::{CallClass, OneClass};
pub use config::HedgeConfig;
pub use handle::HedgeHandle;
pub use keyed::{KeyedHedge, KeyedHedgeHandle, KeyedHedgeLayer};
pub use layer::HedgeLayer;
pub use service::Hedge;
pub use snapshot::{ClassDelay, HedgeCounts, HedgeSnapshot};
