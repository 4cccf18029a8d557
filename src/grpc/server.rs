//! The server stack for gRPC.

use super::{GrpcRejectionLayer, GrpcTimeout};
use crate::{
    http::{ServerEdge, ServerProtocol, UntilBodyEnd},
    stack::server::{ServerBuilder, ServerConfig, ServerConfigSlots},
};

/// A builder of a [`ServerStack`](crate::stack::server::ServerStack) for a server of tonic.
///
/// Rejections become statuses, as [`GrpcRejectionLayer`] says. Deadlines come from `grpc-timeout`. A call is in flight
/// until the end of its stream. The [page of the module](crate::stack::server) has the order of the stages.
///
/// ```
/// use std::time::Duration;
/// use tonic::transport::Server;
/// use tower_reliability::{
///     concurrency_limit::ConcurrencyLimitConfig, drain::DrainConfig, grpc,
/// };
///
/// let server = grpc::server()
///     .drain(DrainConfig::new())
///     .concurrency_limit(ConcurrencyLimitConfig::new(100))
///     .timeout(Duration::from_secs(5))
///     .build()?;
/// let drain = server.drain();
/// let tonic = Server::builder().layer(server);
/// # let _ = (drain, tonic);
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
pub fn server() -> ServerBuilder<ServerEdge<GrpcRejectionLayer>, ServerProtocol<GrpcTimeout>> {
    ServerBuilder::new(ServerEdge::new(GrpcRejectionLayer::new()), UntilBodyEnd, GrpcTimeout)
}

/// A [`server`] with the numbers of a file. Each stage is optional.
pub fn server_from(
    config: ServerConfig,
) -> ServerBuilder<ServerEdge<GrpcRejectionLayer>, ServerProtocol<GrpcTimeout>, ServerConfigSlots> {
    server().config(config)
}
