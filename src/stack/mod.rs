//! One layer made of layers, in the one order in which they work together.
//!
//! ```text
//! caller ─► fallback ─► timeout ─► retry ─► hedge ─► circuit_breaker ─► attempt_timeout ─► your service
//! ```
//!
//! The stages may be named in any order. A stage that is not named costs nothing and asks nothing. `build()` refuses
//! numbers that cannot work together, naming both.
//!
//! ```
//! use std::time::Duration;
//! use tower::{Layer, Service, ServiceExt, service_fn};
//! use tower_reliability::{Error, circuit_breaker::CircuitBreakerConfig, retry::RetryConfig, stack::ReliabilityStack};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stack = ReliabilityStack::builder()
//!     .timeout(Duration::from_secs(10))
//!     .retry(RetryConfig::new())
//!     .circuit_breaker(CircuitBreakerConfig::new().failure_rate(0.5))
//!     .attempt_timeout(Duration::from_secs(2))
//!     .build()?;
//! let mut client = stack.layer(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n + 1) }));
//! match client.ready().await?.call(1).await {
//!     Ok(n) => assert_eq!(n, 2),
//!     Err(Error::Rejected(rejected)) => println!("turned away: {rejected}, again in {:?}", rejected.retry_after()),
//!     Err(Error::Inner(error)) => println!("peer failed: {error}"),
//! }
//! println!("{:?}", stack.circuit_breaker().snapshot());
//! # Ok(()) }
//! ```
//!
//! # What the stages have in common
//!
//! `classify` says what a result means, `limits` where the deadline of a request is, `repeat` how a request is sent twice;
//! retry and hedge share one [`RetryBudget`](crate::retry_budget::RetryBudget), and `retry_budget` shares it with the
//! other stacks that talk to the same peer. `http::stack()` and `grpc::stack()` know all three for their protocol.
//!
//! A retry stands outside the breaker: every attempt is a sample of it, and once it opens the call ends. There is nothing
//! else to reach; where there is, one stack with the breaker stands around each endpoint, and one with the retry around
//! what chooses among them, as the example `gateway` does.
//!
//! # Naming the type
//!
//! The type of a stack grows with its stages. To put the service into a struct, box it once:
//!
//! ```
//! # use std::time::Duration;
//! use tower::{Layer, service_fn, util::BoxCloneSyncService};
//! use tower_reliability::{Error, stack::ReliabilityStack};
//!
//! struct Client {
//!     backend: BoxCloneSyncService<String, String, Error<std::io::Error>>,
//! }
//!
//! let stack = ReliabilityStack::builder().timeout(Duration::from_secs(1)).build()?;
//! let echo = service_fn(|text: String| async move { Ok::<_, std::io::Error>(text) });
//! let client = Client { backend: BoxCloneSyncService::new(stack.layer(echo)) };
//! # let _ = client.backend;
//! # Ok::<(), tower_reliability::ConfigError>(())
//! ```

mod builder;
mod errors;
pub mod future;
mod layer;
mod plan;
mod slots;
mod stage;
mod wrap;

pub use builder::StackBuilder;
pub use errors::{Errors, FlatErrors, PeerClassifier, WrappedErrors};
pub use layer::ReliabilityStack;
pub use slots::{Slots, Stages};
pub use stage::{Common, HasHandle, Stage, Unused};
pub use wrap::Wrap;
