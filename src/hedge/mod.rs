//! A second request while the first is slow, and the first answer of the two.
//!
//! A call that takes longer than most is often slow by bad luck: a lost packet, a pause of the peer's, a queue. The same
//! request, sent once more, then comes back sooner than the first. Such a hedge is sent
//!
//! - after a delay that 95 in 100 calls of that class do not need, [learnt](HedgeConfig::quantile) or
//!   [fixed](HedgeConfig::fixed), or only after a failure: [`on_failure`](HedgeConfig::on_failure);
//! - at once when another attempt [fails inconclusively](HedgeConfig::on), or is turned away on this side in front of
//!   one endpoint, as by an open circuit;
//!
//! and only if the request [may be sent twice](crate::Resend::may_resend), there are not
//! [enough of them](HedgeConfig::max_hedges) already, and the [budget](crate::retry_budget) gives credit. Without credit
//! the call waits for those that are running, as if there were no hedge. Every attempt is
//! [marked](crate::Resend::prepare) with its number and the call's trail, by which a balancer sends it elsewhere.
//!
//! | an attempt ends with | the call |
//! |---|---|
//! | a success | has it for an answer; the others are cancelled |
//! | a failure that every attempt would have (validation, authentication …) | has it for an answer; the others are cancelled |
//! | a failure that another attempt may not have (connection, timeout, server) | goes on with the next hedge, at once |
//! | a rate limit, a failure that names a time to come back or forbids another try, or a rejection made on this side | sends no further hedge, and waits for those that are running |
//! | the last of such failures | has that of the first request for an answer; if that one reached no peer, of one that did |
//!
//! The deadline of a request is not looked at: a hedge may be sent shortly before it, and is cancelled with the call.
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
//! let mut service = ServiceBuilder::new().layer(hedge).service(service_fn(|n: u32| async move {
//!     // The first one is stuck for a minute.
//!     if ASKED.fetch_add(1, Ordering::Relaxed) == 0 {
//!         tokio::time::sleep(Duration::from_secs(60)).await;
//!     }
//!     Ok::<_, std::io::Error>(n + 1)
//! }));
//! let began = tokio::time::Instant::now();
//! assert_eq!(service.ready().await?.call(1).await?, 2);
//! assert!(began.elapsed() < Duration::from_millis(150));
//! assert_eq!(handle.snapshot().counts.won_by_hedge, 1);
//! # Ok(()) }
//! ```
//!
//! # What is learnt
//!
//! How long first attempts take that succeed and had to wait, for each [class of calls](HedgeLayer::class_of): each of
//! the first 500, then one in eight, chosen beforehand. The last 500 to 1 000 of them make the quantile. One that was
//! cancelled, because a hedge was faster or the caller has gone, took at least so long; that is counted too if it is
//! longer than the delay, or what is slow would be forgotten for the very reason that it is slow.
//!
//! # In a breaker's window
//!
//! Around a breaker every attempt that ends is a sample of the breaker's. A loser has no vote: it was dropped because
//! another one has answered, which says nothing about the peer.

mod attempt;
mod class;
mod config;
pub mod future;
mod handle;
mod layer;
mod learning;
mod service;
mod snapshot;
mod state;

pub use class::{CallClass, OneClass};
pub use config::HedgeConfig;
pub use handle::HedgeHandle;
pub use layer::HedgeLayer;
pub use service::Hedge;
pub use snapshot::{ClassDelay, HedgeCounts, HedgeSnapshot};
