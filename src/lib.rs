//! Every protection that a networked call needs, as composable [tower] layers, and one [`ReliabilityStack`] that
//! wires them in the right order. A request goes in; what comes out is an answer, or a typed reason why it was
//! turned away and when to come back.
//!
//! ```text
//! caller ─► fallback ─► timeout ─► retry ─► hedge ─► circuit_breaker ─► attempt_timeout ─► wrap ─► your service
//!              │           │         └──┬──┘            │                  │            E → Error<E>
//!              ▼           ▼        RetryBudget         ▼                  ▼
//!        another answer  Rejected                Rejected{CircuitOpen,  Rejected
//!                       {Timeout}                  retry_after}        {Timeout, DeadlineExceeded}
//!             └── Classifier ─► Outcome ─► each layer's own vote ─► snapshot · Event ─► Listener
//! ```
//!
//! ```
//! use std::time::Duration;
//! use tower::{Layer, Service, ServiceExt, service_fn};
//! use tower_reliability::{Error, ReliabilityStack, circuit_breaker::CircuitBreakerConfig, retry::RetryConfig};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stack = ReliabilityStack::builder()
//!     .timeout(Duration::from_secs(10))
//!     .retry(RetryConfig::exponential(Duration::from_millis(50)).max_attempts(3))
//!     .circuit_breaker(CircuitBreakerConfig::new().failure_rate(0.5))
//!     .attempt_timeout(Duration::from_secs(2))
//!     .build()?;
//! let mut client = stack.layer(service_fn(|name: &'static str| async move {
//!     Ok::<_, std::io::Error>(format!("hello {name}"))
//! }));
//! match client.ready().await?.call("tower").await {
//!     Ok(greeting) => assert_eq!(greeting, "hello tower"),
//!     Err(Error::Rejected(rejected)) => println!("turned away: {rejected}"),
//!     Err(Error::Inner(error)) => println!("peer failed: {error}"),
//! }
//! # Ok(()) }
//! ```
//!
//! # Where to look
//!
//! | what | where |
//! |---|---|
//! | stop calling a peer that fails | [`circuit_breaker`] |
//! | try again, without keeping a peer down | [`retry`], [`retry_budget`] |
//! | send a second request where the first takes long | [`hedge`] |
//! | give up in time, and know the caller's deadline | [`timeout`], [`Deadline`] |
//! | answer with something else where a call was turned away or failed | [`fallback`] |
//! | all of it in the right order | [`stack`] |
//! | say what a result means, now or at the end of a stream | [`Classifier`], [`Outcome`], [`ErrorClass`], [`PendingOutcome`] |
//! | say how a request is sent twice | [`Resend`], [`CallHistory`] |
//! | what callers get to see | [`Error`], [`Rejected`], [`Reason`] |
//! | what operators get to see | [`Event`], [`Listener`], the layers' handles |
//! | HTTP statuses, deadlines and answers | `http`, with the feature of that name |
//! | gRPC statuses, trailers, deadlines and answers | `grpc`, with the feature of that name |
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `http` | `HttpClassifier`, `HttpResend`, `ReplayLayer`, `ReportAttemptsLayer`, `RejectionLayer`, `BodyDeadlineLayer`, deadlines in request extensions; errors of hyper and hyper-util |
//! | `reqwest` | the same over reqwest's requests, responses and errors |
//! | `grpc` | `GrpcClassifier`, `GrpcResend`, `GrpcRejectionLayer`, `StreamOutcomeLayer`, `GrpcTimeout`, rejections as tonic's `Status` |
//! | `tower` | `RetryBudget::of`, a budget of tower's in the place of ours |
//! | `serde` | every config can be read from a file and written to one, durations as `"30s"` |
//! | `full` | all of these |
//!
//! [tower]: https://docs.rs/tower
#![cfg_attr(docsrs, feature(doc_cfg))]

mod algo;
mod call;
mod keyed;
mod rt;
mod telemetry;

pub mod circuit_breaker;
pub mod fallback;
#[cfg(feature = "grpc")]
#[cfg_attr(docsrs, doc(cfg(feature = "grpc")))]
pub mod grpc;
pub mod hedge;
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub mod http;
pub mod retry;
pub mod retry_budget;
pub mod stack;
pub mod timeout;

pub use call::{
    AsRejected, BoxError, BoxErrorClassifier, CallHistory, Classifier, CloneRequest, ConfigError, Deadline,
    DeadlineSource, Error, ErrorClass, FromRejected, IntoRejected, NoDeadline, Outcome, PendingOutcome,
    PerClass, PriorAttempts, Priority, Protocol, Reason, Rejected, Resend, Retryable, StandardClassifier,
    Upload, outcome_of,
};
pub use stack::ReliabilityStack;
pub use telemetry::{CircuitState, CircuitTransition, Event, EventKind, Listener, Name, Severity, Trip};

/// The examples of the README, compiled and run.
#[cfg(all(doctest, feature = "http"))]
#[doc = include_str!("../README.md")]
struct Readme;
