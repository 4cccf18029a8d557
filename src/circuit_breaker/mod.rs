//! A circuit breaker: stops calling a peer that fails, gives it a rest, and asks it carefully whether it is back.
//!
//! ```text
//!            too many failures, in a row or by share, or too many slow calls
//!   Closed ────────────────────────────────────────────────────────────────► Open
//!     ▲  ▲                                                                   │  ▲
//!     │  └── Ramping ◄──┐ enough probes passed                     rest over │  │ too many failed,
//!     │                 └───────────────────────  HalfOpen  ◄────────────────┘  │ or no verdict
//!     └────────────────────────────────────────────  │  ────────────────────────┘
//! ```
//!
//! While closed, a healthy call costs no lock and no allocation, and two cores hardly ever write one cache line. A call
//! that came back after the circuit had moved on has no vote. Whatever a call took is given back when its future
//! completes, panics, or is dropped; where the answer is [`Deferred`](crate::Outcome::Deferred), when that has ended.
//!
//! ```
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_reliability::{BoxError, Rejected, BoxErrorClassifier, circuit_breaker::CircuitBreakerConfig};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let breaker = CircuitBreakerConfig::consecutive(2).build()?.classify(BoxErrorClassifier);
//! let handle = breaker.handle();
//! let mut service = ServiceBuilder::new()
//!     .layer(breaker)
//!     .service(service_fn(|_: ()| async { Err::<(), BoxError>("down".into()) }));
//! for _ in 0..2 {
//!     let _ = service.ready().await?.call(()).await;
//! }
//! let error = service.ready().await?.call(()).await.unwrap_err();
//! let rejected = error.downcast_ref::<Rejected>().expect("it is the breaker that answers now");
//! assert!(rejected.retry_after().is_some());
//! assert_eq!(handle.state().as_str(), "open");
//! # Ok(()) }
//! ```

mod admission;
mod alarm;
mod config;
mod cooldown;
pub mod future;
mod gate;
mod handle;
mod health;
pub mod keyed;
mod layer;
#[cfg(feature = "serde")]
mod off;
mod permit;
mod probes;
mod rules;
mod service;
mod shared;
mod snapshot;
mod state;
mod vote;
mod waiting;

pub use config::{Abandoned, CircuitBreakerConfig, Window};
pub use handle::CircuitBreakerHandle;
pub use keyed::{KeyedCircuitBreaker, KeyedCircuitBreakerHandle, KeyedCircuitBreakerLayer};
pub use layer::CircuitBreakerLayer;
pub use service::CircuitBreaker;
pub use snapshot::{CircuitBreakerCounts, CircuitBreakerSnapshot};

pub use crate::telemetry::{CircuitState, CircuitTransition, Trip};

#[cfg(all(test, shuttle))]
mod concurrency;
