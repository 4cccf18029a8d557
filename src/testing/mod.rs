//! A test kit: a backend that does as a script says, and a layer that injects faults. With the feature `testing`.
//!
//! | type | use |
//! |---|---|
//! | [`Scripted`], [`Step`] | a backend that answers, delays, hangs, fails, panics or is not ready, and counts its calls |
//! | [`FaultLayer`], [`FaultConfig`] | latency, failures and hangs around a real service, by rate and seed |
//!
//! Both follow tokio's time. In a test with `start_paused = true`, an hour of delays takes no time.
//!
//! # Does my stack open its circuit?
//!
//! The backend refuses each call. After three failures the circuit rejects calls, and the backend gets none of them.
//! Later the backend answers, and the circuit closes.
//!
//! ```
//! use std::{io, time::Duration};
//! use tower::{Layer, ServiceExt};
//! use tower_reliability::{
//!     Error, ReliabilityStack,
//!     circuit_breaker::{CircuitBreakerConfig, CircuitState},
//!     testing::{Scripted, Step},
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let refused = |_: &&str| Step::fail(io::Error::from(io::ErrorKind::ConnectionRefused));
//! let backend = Scripted::new(refused);
//! let stack = ReliabilityStack::builder()
//!     .circuit_breaker(CircuitBreakerConfig::consecutive(3))
//!     .build()?;
//! let client = stack.layer(backend.clone());
//!
//! for _ in 0..3 {
//!     assert!(matches!(client.clone().oneshot("tea").await, Err(Error::Inner(_))));
//! }
//! assert_eq!(stack.circuit_breaker().state(), CircuitState::Open);
//! let rejected = client.clone().oneshot("tea").await;
//! assert!(matches!(rejected, Err(Error::Rejected(_))));
//! assert_eq!(backend.calls(), 3);
//!
//! backend.play([Step::answer(2.50), Step::answer(2.50), Step::answer(2.50)]);
//! tokio::time::advance(Duration::from_secs(30)).await;
//! for _ in 0..3 {
//!     assert_eq!(client.clone().oneshot("tea").await?, 2.50);
//! }
//! assert_eq!(stack.circuit_breaker().state(), CircuitState::Closed);
//! # Ok(()) }
//! ```
//!
//! # Does my client survive a bad day?
//!
//! A [`FaultLayer`] stands directly around the service, inside the layers under test:
//!
//! ```
//! use std::{io, time::Duration};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_reliability::{
//!     ReliabilityStack, retry::RetryConfig,
//!     testing::{FaultConfig, Latency},
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (median, p99) = (Duration::from_millis(20), Duration::from_secs(1));
//! let faults = FaultConfig::new()
//!     .latency(Latency::LongTail { median, p99 })
//!     .failure_rate(0.05)
//!     .seed(7)
//!     .build_failing(|| Err(io::Error::from(io::ErrorKind::ConnectionReset)))?;
//! let backend = service_fn(|n: u32| async move { Ok::<_, io::Error>(n + 1) });
//! let stack = ReliabilityStack::builder().retry(RetryConfig::new()).build()?;
//! let client = stack.layer(faults.layer(backend));
//!
//! for n in 0..100 {
//!     assert_eq!(client.clone().oneshot(n).await?, n + 1);
//! }
//! assert!(faults.handle().snapshot().failed > 0);
//! faults.handle().disable(); // the rest of the test runs without faults
//! # Ok(()) }
//! ```
//!
//! # Defaults
//!
//! | setter | default |
//! |---|---|
//! | [`latency`](FaultConfig::latency) | none |
//! | [`failure_rate`](FaultConfig::failure_rate) | 0 |
//! | [`hang_rate`](FaultConfig::hang_rate) | 0 |
//! | [`seed`](FaultConfig::seed) | 0 |
//!
//! # Runtime
//!
//! A step or a fault with a delay needs a tokio runtime with time enabled. All others run in every runtime.

pub mod faults;
pub mod scripted;

pub use faults::{FaultConfig, FaultHandle, FaultLayer, FaultSnapshot, Faults, Latency, NoFailure};
pub use scripted::{Scripted, Step};
