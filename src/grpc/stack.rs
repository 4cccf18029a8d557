//! The protocol and the stack of gRPC.

use super::{GrpcClassifier, GrpcResend, GrpcTimeout};
use crate::{
    balance::{BalanceBuilder, BalanceConfig},
    call::{ConfigError, Protocol},
    http::{RequestExtensions, Standard, stack::standard_of},
    stack::{ConfigSlots, ReliabilityStack, StackBuilder, StackConfig, WrappedErrors},
};

/// The [`Protocol`] of gRPC: [`GrpcClassifier`], [`GrpcResend`] and [`GrpcTimeout`].
#[must_use]
pub const fn protocol() -> Protocol<GrpcClassifier, GrpcResend, GrpcTimeout> {
    Protocol { classifier: GrpcClassifier::new(), resend: GrpcResend::new(), deadlines: GrpcTimeout }
}

/// A builder of a [`ReliabilityStack`] with the [`protocol`] of gRPC, each part of which can be replaced.
///
/// By default, a retry resends only calls that no server has processed. [`GrpcResend::idempotent_if`] names the calls
/// that it may also resend after a failure.
///
/// A retry and a hedge need requests whose bodies can be sent twice. In a client, an outer
/// [`ReplayLayer`](crate::http::ReplayLayer) makes such bodies, and an inner `map_request` turns them back into tonic's:
///
/// ```
/// use std::time::Duration;
/// use tonic::{body::Body, transport::Channel};
/// use tonic_health::pb::health_client::HealthClient;
/// use tower::ServiceBuilder;
/// use tower_reliability::{
///     grpc::{self, GrpcRejectionLayer, GrpcResend},
///     http::{ReplayBody, ReplayLayer},
///     retry::RetryConfig,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let stack = grpc::stack()
///     .timeout(Duration::from_secs(10))
///     .retry(RetryConfig::new())
///     .resend(GrpcResend::new().idempotent_if(|path: &str| path.ends_with("/Check")))
///     .attempt_timeout(Duration::from_secs(2))
///     .build()?;
/// let channel = Channel::from_static("http://[::1]:50051").connect_lazy();
/// let layers = ServiceBuilder::new()
///     .layer(GrpcRejectionLayer::new())
///     .layer(ReplayLayer::new())
///     .layer(stack)
///     .map_request(|request: http::Request<ReplayBody<Body>>| request.map(Body::new));
/// let client = HealthClient::new(layers.service(channel));
/// # let _ = client;
/// # Ok(()) }
/// ```
pub fn stack() -> StackBuilder<Protocol<GrpcClassifier, GrpcResend, GrpcTimeout>> {
    ReliabilityStack::builder().protocol(protocol())
}

/// A builder of [balancers](crate::balance) that knows gRPC: the outcomes of answers, and the endpoints that a retry or a
/// hedge has tried. The service of an endpoint is a channel of tonic.
///
/// # Errors
///
/// Names the first field that breaks its rule.
pub fn balance(
    config: BalanceConfig,
) -> Result<BalanceBuilder<GrpcClassifier, RequestExtensions>, ConfigError> {
    Ok(config.build()?.classify(GrpcClassifier::new()).route(RequestExtensions))
}

/// A [`stack`](stack()) with the numbers of a file. Each stage is optional.
pub fn stack_from(
    config: StackConfig,
) -> StackBuilder<Protocol<GrpcClassifier, GrpcResend, GrpcTimeout>, WrappedErrors, ConfigSlots> {
    config.builder().protocol(protocol())
}

/// A [`stack`](stack()) with the stages and the numbers of [`http::standard`](crate::http::standard).
///
/// Circuits and retry budgets are kept per channel, or per host where a request says its host. Make the channel once and
/// clone the generated client: each call of [`channel`](ReliabilityStack::channel) begins new circuits and budgets.
/// [`channel_to`](ReliabilityStack::channel_to) keeps them per host, however often it is called. Any setter changes a
/// number or adds a stage; repeat `per_authority()` with your numbers of a retry, a hedge or a breaker. Name
/// the idempotent calls with `.resend(..)`: without it, only calls that no server has processed are sent again.
///
/// ```
/// use tonic::transport::Channel;
/// use tonic_health::pb::health_client::HealthClient;
/// use tower_reliability::grpc;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let channel = Channel::from_static("http://[::1]:50051").connect_lazy();
/// let client = HealthClient::new(grpc::standard().build()?.channel(channel));
/// # let _ = client;
/// # Ok(()) }
/// ```
pub fn standard() -> Standard<Protocol<GrpcClassifier, GrpcResend, GrpcTimeout>> {
    standard_of(stack())
}
