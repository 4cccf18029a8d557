//! One layer made of layers, in the one order in which they work together.
//!
//! ```text
//! caller ─► timeout ─► circuit_breaker ─► attempt_timeout ─► your service
//! ```
//!
//! The stages may be named in any order. A stage that is not named costs nothing and asks nothing. `build()` refuses
//! numbers that cannot work together, naming both.
//!
//! ```
//! use std::time::Duration;
//! use tower::{Layer, Service, ServiceExt, service_fn};
//! use tower_reliability::{Error, circuit_breaker::CircuitBreakerConfig, stack::ReliabilityStack};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stack = ReliabilityStack::builder()
//!     .timeout(Duration::from_secs(10))
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
mod plan;
mod slots;
mod stage;
mod wrap;

pub use builder::{ReliabilityStack, StackBuilder};
pub use errors::{Errors, FlatErrors, PeerClassifier, WrappedErrors};
pub use stage::{Common, Handled, Stage, Unused};
pub use wrap::{Wrap, WrapLayer};
