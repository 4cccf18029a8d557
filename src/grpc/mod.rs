//! gRPC over tonic: outcomes from heads and trailers, deadlines from hop to hop, rejections as statuses.
//!
//! | to | use |
//! |---|---|
//! | build a stack that knows gRPC | [`stack`], [`protocol`], or [`standard`] with numbers |
//! | protect a server | [`server`](server()), [`server_from`] |
//! | put it around a channel, for generated clients | [`GrpcChannel`] |
//! | classify answers and errors | [`GrpcClassifier`] |
//! | resend calls | [`GrpcResend`], with an outer [`ReplayLayer`](crate::http::ReplayLayer) |
//! | read and shrink `grpc-timeout` | [`GrpcTimeout`] |
//! | learn how streams ended | [`StreamOutcomeLayer`] |
//! | answer rejected calls | [`GrpcRejectionLayer`] |
//! | [check](crate::health_check) the health of a server | [`GrpcProbe`] |
//! | tell callers about retries by this process | [`ReportAttemptsLayer`](crate::http::ReportAttemptsLayer) |
//!
//! The layers work on the HTTP inside tonic, and a generated client goes on top as it is:
//!
//! ```
//! use std::time::Duration;
//! use tonic::transport::Channel;
//! use tonic_health::pb::health_client::HealthClient;
//! use tower_reliability::{
//!     circuit_breaker::CircuitBreakerConfig,
//!     grpc::{self, GrpcResend},
//!     retry::RetryConfig,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stack = grpc::stack()
//!     .timeout(Duration::from_secs(10))
//!     .retry(RetryConfig::new())
//!     .resend(GrpcResend::new().idempotent_if(|path: &str| path.ends_with("/Check")))
//!     .circuit_breaker(CircuitBreakerConfig::new())
//!     .attempt_timeout(Duration::from_secs(2))
//!     .build()?;
//! let channel = Channel::from_static("http://[::1]:50051").connect_lazy();
//! let client = HealthClient::new(stack.channel(channel));
//! # let _ = client;
//! # Ok(()) }
//! ```
//!
//! By default, a retry resends only calls that no server has processed. [`GrpcResend`] names the idempotent calls,
//! which it also resends after a failure. [`stack`](stack()) shows the same client made of single layers.
//!
//! A stream that has begun is not retried if it breaks off; [`StreamOutcomeLayer`] tells of it.
//!
//! # Defaults
//!
//! | number | default |
//! |---|---|
//! | [`GrpcClassifier::max_retry_after`] | 1 day |
//! | [`GrpcClassifier::deferred`] | off: an answer that has begun is a success |
//! | [`GrpcClassifier::unavailable_is_unprocessed`] | false |
//! | [`GrpcResend`] | no call is idempotent |
//! | [`StreamOutcomeLayer::abandoned`] | [`Ignored`](crate::Outcome::Ignored) |
//!
//! # Runtime, panics and cancellation
//!
//! The layers of this module spawn no task and set no timer. They run in every runtime and do not panic. Dropping one
//! of their futures drops the inner call.

mod channel;
mod classify;
mod code;
mod errors;
mod probe;
mod pushback;
mod rejection;
mod resend;
mod server;
mod stack;
mod status;
pub mod stream_outcome;
mod timeout;

pub use channel::{GrpcChannel, TonicBodies};
pub use classify::GrpcClassifier;
pub use probe::GrpcProbe;
pub use rejection::{
    DetailedGrpcAnswers, DetailedGrpcRejectionLayer, GrpcAnswers, GrpcRejection, GrpcRejectionLayer,
};
pub use resend::GrpcResend;
pub use server::{server, server_from};
pub use stack::{balance, protocol, stack, stack_from, standard};
pub use stream_outcome::{GrpcOutcomeBody, StreamOutcome, StreamOutcomeLayer};
pub use timeout::GrpcTimeout;
