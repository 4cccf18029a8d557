//! gRPC over tonic: what an answer says, how a stream ended, deadlines from hop to hop, and rejections as statuses.
//!
//! All of it works on the HTTP under tonic, so that the client that tonic generates stands on top as it is:
//!
//! ```
//! use std::time::Duration;
//! use tonic::transport::Channel;
//! use tonic_health::pb::health_client::HealthClient;
//! use tower::ServiceBuilder;
//! use tower_reliability::{
//!     circuit_breaker::CircuitBreakerConfig,
//!     grpc::{self, GrpcRejectionLayer},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stack = grpc::stack()
//!     .timeout(Duration::from_secs(10))
//!     .circuit_breaker(CircuitBreakerConfig::new())
//!     .attempt_timeout(Duration::from_secs(2))
//!     .build()?;
//! let channel = Channel::from_static("http://[::1]:50051").connect_lazy();
//! let client = HealthClient::new(ServiceBuilder::new().layer(GrpcRejectionLayer).layer(stack).service(channel));
//! # let _ = client;
//! # Ok(()) }
//! ```
//!
//! A client that tries again. What no server has seen is sent again by default; what may have been done, only
//! where [`GrpcResend`] is told that it does no harm:
//!
//! ```
//! use http::Request;
//! use tonic::{body::Body, transport::Channel};
//! use tonic_health::pb::health_client::HealthClient;
//! use tower::ServiceBuilder;
//! use tower_reliability::{
//!     grpc::{self, GrpcRejectionLayer, GrpcResend},
//!     http::{ReplayBody, ReplayLayer},
//!     retry::RetryConfig,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stack = grpc::stack()
//!     .retry(RetryConfig::new())
//!     .resend(GrpcResend::new().idempotent_if(|path: &str| path == "/grpc.health.v1.Health/Check"))
//!     .build()?;
//! let channel = Channel::from_static("http://[::1]:50051").connect_lazy();
//! let layers = ServiceBuilder::new()
//!     .layer(GrpcRejectionLayer)
//!     .layer(ReplayLayer::new()) // keeps what is sent, up to 64 KiB
//!     .layer(stack)
//!     .map_request(|request: Request<ReplayBody<Body>>| request.map(Body::new));
//! let client = HealthClient::new(layers.service(channel));
//! # let _ = client;
//! # Ok(()) }
//! ```
//!
//! A response that has begun is handed out: a stream that breaks off is not tried again, and
//! [`StreamOutcomeLayer`] tells of it. A server that tries again what it is asked says so with a
//! [`ReportAttemptsLayer`](crate::http::ReportAttemptsLayer), and its callers stand down.

mod classify;
mod code;
mod errors;
mod pushback;
mod rejection;
mod resend;
mod stack;
mod status;
pub mod stream_outcome;
mod timeout;

pub use classify::GrpcClassifier;
pub use rejection::{GrpcAnswers, GrpcRejection, GrpcRejectionLayer};
pub use resend::GrpcResend;
pub use stack::{protocol, stack};
pub use stream_outcome::{GrpcOutcomeBody, StreamOutcome, StreamOutcomeLayer};
pub use timeout::GrpcTimeout;
