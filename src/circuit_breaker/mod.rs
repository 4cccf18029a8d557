//! A circuit breaker: stops calls to a backend that fails, waits for an open period, and then lets single probes pass to
//! learn whether the backend has recovered.
//!
//! ```text
//!        the failure rate, the slow-call rate or the
//!        consecutive failures reach their limit
//! Closed ────────────────────────────────────────────► Open ◄────────────┐
//!  ▲  ▲                                                  │               │
//!  │  │                                    the open      │   too many    │
//!  │  │                                    period is over│  probes failed│
//!  │  │ enough probes passed                             ▼               │
//!  │  └─────────────────────────────────────────────  HalfOpen ──────────┘
//!  │                                                     │
//!  └──────────  Ramping  ◄───────────────────────────────┘
//!                            enough probes passed, with `ramp`
//! ```
//!
//! While the circuit is closed, a healthy call takes no lock and allocates nothing. A call that ends after the circuit
//! has changed its state has no vote. Everything that a call took returns to the circuit when its future completes,
//! panics or is dropped.
//!
//! ```
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_reliability::{
//!     BoxError, BoxErrorClassifier, Rejected, circuit_breaker::CircuitBreakerConfig,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let config = CircuitBreakerConfig::consecutive(2);
//! let breaker = config.build()?.classify(BoxErrorClassifier);
//! let handle = breaker.handle();
//! let mut service = ServiceBuilder::new()
//!     .layer(breaker)
//!     .service(service_fn(|_: ()| async { Err::<(), BoxError>("down".into()) }));
//! for _ in 0..2 {
//!     let _ = service.ready().await?.call(()).await;
//! }
//! let error = service.ready().await?.call(()).await.unwrap_err();
//! let rejected = error.downcast_ref::<Rejected>().expect("the circuit is open");
//! assert!(rejected.retry_after().is_some());
//! assert_eq!(handle.state().as_str(), "open");
//! # Ok(()) }
//! ```
//!
//! # Defaults
//!
//! | number | default | meaning |
//! |---|---|---|
//! | `failure_rate` | 0.5 | the ratio of failed calls that opens the circuit |
//! | `min_requests` | 20 | a rate says nothing over fewer calls |
//! | `window` | the last 100 calls | the calls from which rates are computed |
//! | `consecutive_failures` | off | the number of consecutive failures that opens the circuit |
//! | `slow_call` | off | the threshold and the ratio of slow calls |
//! | `open_for` | 700 ms | the shortest open period |
//! | `outage_ratio` | 1/6 | the open period as a ratio of the outage so far |
//! | `max_open_for` | 15 s | the longest open period without a hint of the backend |
//! | `open_jitter` | ±20 % | the spread of the open period |
//! | `open_multiplier` | 1 (off) | the growth of `open_for` with each opening |
//! | `backoff_decay_every` | 30 s | the closed time that takes back one growth |
//! | `max_retry_after` | 60 s | the longest open period that the backend can ask for |
//! | `half_open_probes` | 3, or more `half_open_successes` | the probes of a half-open circuit |
//! | `half_open_successes` | 2, or fewer `half_open_probes` | the probes that must pass |
//! | `probe_timeout` | 30 s | the time of a probe |
//! | `ramp` | 0 (off) | the time over which a closed circuit admits more and more |
//! | `abandoned` | by time | how a cut call counts |
//!
//! # Cut calls
//!
//! A call is *cut* if it ends before the backend has answered. A caller that hangs up, an outer timeout or a hedge that
//! won drops the future of the call, or the caller's deadline ends the call. A cut call is a failure if all of this
//! holds:
//!
//! 1. The call did not wait for its caller to send the rest of the request, as far as
//!    [`DeadlineSource::upload`](crate::DeadlineSource::upload) can tell.
//! 2. The call waited longer than 99 % of the successful calls. The circuit estimates this time from its calls. Before
//!    the first hundred samples the time is 1 s, or a shorter timeout of the stack.
//! 3. No call was answered since this call began to wait.
//! 4. The backend has been silent for three times the longest pause between answers of the last one to two minutes, and
//!    for at least 1 s, or a shorter timeout of the stack.
//! 5. No other cut call was a failure in the last twentieth of that time: calls that are cut together count once.
//!
//! Otherwise a cut call has no vote. So a backend that answers no call opens the circuit although every caller gives up.
//! An impatient or malicious caller cannot open the circuit of a healthy backend. A cut call that waited longer than the
//! slow-call threshold counts as slow. A response that is dropped after its head has no vote.
//!
//! The rule has a limit. A route that is far slower than all others looks like a dead backend if all its callers give up
//! and no other route is called. Give such a route a circuit of its own.
//!
//! While half-open, a cut probe has no vote and admits one more call at a time, up to 16, so that the calls of patient
//! callers soon pass too. Only when twenty such probes had patience, and no call was answered for ten times the patience
//! and at least 10 s, does the circuit open again. A probe with a request body admits one more call beside it, because
//! its caller may take its time.
//!
//! # Telemetry
//!
//! | event | when | severity | fields |
//! |---|---|---|---|
//! | [`CircuitChanged`](crate::EventKind::CircuitChanged) | the circuit changed its state | error if it opened, warning if it was forced open, else info | `from`, `to`, `generation`, `trip` |
//! | [`CircuitWouldTrip`](crate::EventKind::CircuitWouldTrip) | in shadow mode, the circuit would have opened | warning | the [`Trip`] |
//! | [`KeysExhausted`](crate::EventKind::KeysExhausted) | a [keyed] breaker found no room for a new key, for the first time | warning | `max_keys` |
//! | [`Reconfigured`](crate::EventKind::Reconfigured) | [`update`](CircuitBreakerHandle::update) replaced the numbers | info | |
//!
//! Listeners are added by the [layer](CircuitBreakerLayer::listen) and by the [handle](CircuitBreakerHandle::listen).
//! `tracing` gets the same events, with the target `tower_reliability` and the fields `layer` and `event`. A rejection
//! emits no event: the [snapshot](CircuitBreakerHandle::snapshot) counts it.
//!
//! # Runtime
//!
//! The breaker starts no task and no timer, reads the time of tokio's clock, and runs in every runtime and outside of
//! one. Only [`wait_while_open`](CircuitBreakerLayer::wait_while_open) needs a tokio runtime with time enabled. The
//! breaker does not panic. A panic of the inner service counts as a failure.

mod config;
pub mod future;
mod handle;
pub mod keyed;
mod layer;
#[cfg(feature = "serde")]
mod serde;
mod service;
mod shared;
mod snapshot;
mod state;

pub use config::{Abandoned, CircuitBreakerConfig, Window};
pub use handle::CircuitBreakerHandle;
pub use keyed::{KeyedCircuitBreaker, KeyedCircuitBreakerHandle, KeyedCircuitBreakerLayer};
pub use layer::CircuitBreakerLayer;
pub use service::CircuitBreaker;
pub use snapshot::{CircuitBreakerCounts, CircuitBreakerSnapshot};

pub use crate::telemetry::{CircuitState, CircuitTransition, Trip};
