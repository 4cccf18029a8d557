//! A layer made of layers, in the one order in which they work together.
//!
//! ```text
//! caller ─► fallback ─► timeout ─► rate_limit ─► concurrency_limit ─┐     one call
//!           ┌───────────────────────────────────────────────────────┘
//!           └─► retry ─► hedge ─┐
//!           ┌───────────────────┘
//!           └─► pacing ─► circuit_breaker ─► attempt_timeout ─► service   each attempt
//! ```
//!
//! The setters come in any order. An unused stage costs nothing and asks nothing of the service. `build()` refuses
//! numbers that cannot work together, and its error names both fields.
//!
//! ```
//! use std::time::Duration;
//! use tower::{Layer, Service, ServiceExt, service_fn};
//! use tower_reliability::{
//!     Error, ReliabilityStack, circuit_breaker::CircuitBreakerConfig,
//!     retry::RetryConfig,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stack = ReliabilityStack::builder()
//!     .timeout(Duration::from_secs(10))
//!     .retry(RetryConfig::new())
//!     .circuit_breaker(CircuitBreakerConfig::new().failure_rate(0.5))
//!     .attempt_timeout(Duration::from_secs(2))
//!     .build()?;
//! let backend = service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n + 1) });
//! let mut client = stack.layer(backend);
//! match client.ready().await?.call(1).await {
//!     Ok(n) => assert_eq!(n, 2),
//!     Err(Error::Rejected(rejected)) => println!("rejected by {rejected}"),
//!     Err(Error::Inner(error)) => println!("backend failed: {error}"),
//! }
//! println!("{:?}", stack.circuit_breaker().snapshot());
//! # Ok(()) }
//! ```
//!
//! # Protocol and budget
//!
//! All stages share one [`Protocol`](crate::Protocol): it classifies results, copies requests for further attempts,
//! and reads the deadline of each request. `http::stack()` and `grpc::stack()` start with the protocol of that name.
//! Retry and hedge share one [`RetryBudget`](crate::retry_budget::RetryBudget).
//! [`retry_budget`](StackBuilder::retry_budget) shares it with the other stacks that call the same backend.
//!
//! Rate limit and concurrency limit are outer to the retry: a call takes its tokens once, and holds one permit for all
//! its attempts and the delays between them. A call that is rejected takes no budget, and nothing of the inner stages.
//! A permit returns with the response, or at the end of a response that the classifier [defers](crate::Outcome::Deferred).
//! Pacing is inner to the retry: each attempt takes tokens, as it does at a provider with a quota. The breaker and the
//! attempt timeout are inner to pacing, so its wait is no time of the backend. [`priority`](StackBuilder::priority) orders
//! the calls that wait for any of the three, and the total timeout limits each wait.
//!
//! The retry does not repeat an attempt that pacing rejects, and the hedge sends none beside it: every attempt of the
//! stack passes the same limit. Such an attempt ends the call with the rejection. A retry that may use
//! [other endpoints](crate::retry::RetryConfig::other_endpoints) repeats it.
//!
//! The retry is outer to the breaker: the breaker counts every attempt, and once it opens the call ends. A stack
//! protects one backend. For several endpoints, put one stack with a breaker around each endpoint. A second stack with a
//! retry goes around the service that chooses among them, as in the example `gateway`. For one circuit
//! and one retry budget per host inside one stack, see [`PerKey`].
//!
//! # Optional stages
//!
//! Each setter but the fallback's also takes an `Option` of a config, for a stage that is decided while the program runs.
//! `None` behaves as an absent stage, also in place of a stage with state [per key](PerKey). The accessor of the stage then
//! returns an `Option` of the handle:
//!
//! ```
//! use tower_reliability::{ReliabilityStack, hedge::HedgeConfig};
//!
//! let hedge = std::env::var("HEDGE").is_ok().then(HedgeConfig::new);
//! let stack = ReliabilityStack::builder().hedge(hedge).build()?;
//! if let Some(hedge) = stack.hedge() {
//!     println!("{:?}", hedge.snapshot());
//! }
//! # Ok::<(), tower_reliability::ConfigError>(())
//! ```
//!
//! [`StackConfig`] holds the numbers of all stages, each optional. With the feature `serde` it comes from a file.
//!
//! # Defaults
//!
//! A new builder has no stage. Each stage has the defaults of its own module. A default that conflicts with a chosen
//! number yields to it: a breaker whose `probe_timeout` is the default waits for a probe at least as long as
//! `attempt_timeout`. A program marks its own default limits with
//! [`TimeoutConfig::yielding`](crate::timeout::TimeoutConfig::yielding).
//!
//! | setter | default |
//! |---|---|
//! | [`protocol`](StackBuilder::protocol) | [`Protocol::new`](crate::Protocol::new) |
//! | [`retry_budget`](StackBuilder::retry_budget) | [`RetryBudgetConfig::new`](crate::retry_budget::RetryBudgetConfig::new), one per stack |
//! | [`priority`](StackBuilder::priority) | [`NoPriority`](crate::NoPriority) |
//! | [`flat_errors`](StackBuilder::flat_errors) | off: errors are wrapped in [`Error`](crate::Error) |
//! | [`named`](StackBuilder::named) | no name: a rejection carries the name of its stage alone |
//! | [`listen`](StackBuilder::listen) | no listener |
//!
//! # One clock reading and one timer
//!
//! The stages of a stack run nested in one `call` or one `poll`. Meanwhile they share one reading of the clock, and an
//! outer timeout sets no timer while the timer of an inner timeout wakes the task earlier. Limits are those of separate
//! layers.
//!
//! Sharing ends where code of the user begins: at the inner service, at the source of a fallback, and at a listener.
//! After that code, the next stage reads the clock again. Therefore sharing does not reach
//!
//! - a call that goes on in another task, through `tokio::spawn` or `tower::buffer::Buffer`;
//! - an inner stack, which shares among its own stages;
//! - layers that are stacked by hand, because a layer of a user may stand between them;
//! - the timers of a hedge and of a delay between attempts, which are their own.
//!
//! A classifier, a resend rule and a source of deadlines run among the stages, so they must not poll a future.
//!
//! With a total timeout, the breaker and the retry count the wait of a call from `call`, and not from its first poll. A
//! caller that makes a call and polls it much later makes the backend look slower than it is.
//!
//! # Telemetry
//!
//! [`listen`](StackBuilder::listen) adds a listener to every stage. An event carries the name of its stage, such as
//! `stock.retry` in the stack `stock`.
//!
//! | stage | events |
//! |---|---|
//! | fallback | [`FellBack`](crate::EventKind::FellBack) |
//! | timeout, attempt timeout | [`TimedOut`](crate::EventKind::TimedOut) |
//! | retry | [`Retried`](crate::EventKind::Retried) |
//! | hedge | [`Hedged`](crate::EventKind::Hedged) |
//! | rate limit, pacing | [`Rejected`](crate::EventKind::Rejected), [`SheddingChanged`](crate::EventKind::SheddingChanged), [`RateChanged`](crate::EventKind::RateChanged); a limit per key only counts a rejection |
//! | concurrency limit | [`Rejected`](crate::EventKind::Rejected), [`SheddingChanged`](crate::EventKind::SheddingChanged) |
//! | breaker | [`CircuitChanged`](crate::EventKind::CircuitChanged), [`CircuitWouldTrip`](crate::EventKind::CircuitWouldTrip) |
//! | a stage with state [per key](PerKey) | [`KeysExhausted`](crate::EventKind::KeysExhausted) |
//! | each | [`Reconfigured`](crate::EventKind::Reconfigured) |
//!
//! The page of each layer says when, at which severity and with which fields: [fallback](crate::fallback#telemetry),
//! [timeout](crate::timeout#telemetry), [rate limit](crate::rate_limit#telemetry),
//! [concurrency limit](crate::concurrency_limit#telemetry), [retry](crate::retry#telemetry),
//! [hedge](crate::hedge#telemetry), [breaker](crate::circuit_breaker#telemetry). Events of one call come in the order in
//! which they happen. A call that succeeds at its first attempt, in time, emits none.
//!
//! # Naming the type
//!
//! The type of a stack grows with its stages. [`service`](ReliabilityStack::service) hides it behind a [`Client`], which
//! a struct can name and which is called with `&self`. `client`, `reqwest` and `channel` do the same for the clients of
//! HTTP and gRPC. A call through one of them takes one allocation more than a call through the layer.

mod await_ready;
mod boundary;
mod builder;
mod client;
mod config;
mod cost;
mod errors;
pub mod future;
mod layer;
mod optional;
mod per_key;
mod plan;
pub mod server;
mod slots;
mod stage;
mod wrap;

pub use await_ready::{AwaitReady, ReadyCall};
pub use boundary::Boundary;
pub use builder::{ConfigSlots, KeyedConfigSlots, StackBuilder};
pub use client::{Client, ClientFuture, ClientService, Shareable};
pub use config::StackConfig;
pub use cost::Costed;
pub use errors::{Errors, FlatErrors, InnerClassifier, WrappedErrors};
pub use layer::ReliabilityStack;
pub use optional::OptionalLayer;
pub use per_key::PerKey;
pub use plan::StageKey;
pub use slots::{Slots, Stages};
pub use stage::{Common, HasHandle, OptionalStage, RateLimitStage, Stage, Unused};
pub use wrap::Wrap;
