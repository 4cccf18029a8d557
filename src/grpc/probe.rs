//! A health check by gRPC's health protocol.

use std::fmt;

use bytes::Bytes;
use tonic::{body::Body, client::GrpcService};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{call::BoxError, health_check::Probe};

/// A health check by `grpc.health.v1.Health/Check`. The answer `SERVING` passes, and every other one fails.
///
/// `channel` is tonic's `Channel`, or a service around it. A server without the health service answers `UNIMPLEMENTED`,
/// and fails the check.
///
/// ```
/// use tonic::transport::Channel;
/// use tower_reliability::{grpc::GrpcProbe, health_check::HealthCheckConfig};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let channel = Channel::from_static("http://10.0.0.1:50051").connect_lazy();
/// let probe = GrpcProbe::new(channel).service("shop.Prices");
/// let check = HealthCheckConfig::new().build()?.start("10.0.0.1:50051", probe);
/// # let _ = check;
/// # Ok(()) }
/// ```
///
/// # Clone
///
/// Clones share the channel as its clones do.
#[derive(Clone)]
pub struct GrpcProbe<S> {
    channel: S,
    service: String,
}

impl<S> GrpcProbe<S> {
    /// Asks for the health of the whole server.
    pub const fn new(channel: S) -> Self {
        Self { channel, service: String::new() }
    }

    /// Asks for the health of this service, such as `package.Service`. Default: the empty name of the whole server.
    #[must_use]
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = name.into();
        self
    }
}

impl<S> Probe for GrpcProbe<S>
where
    S: GrpcService<Body, Future: Send, Error: Into<BoxError>> + Clone + Send + Sync + 'static,
    S::ResponseBody: http_body::Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static,
{
    async fn probe(&self) -> Result<(), BoxError> {
        let mut client = HealthClient::new(self.channel.clone()).max_decoding_message_size(MAX_BYTES);
        let answer = client.check(HealthCheckRequest { service: self.service.clone() }).await?;
        match answer.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            other => Err(format!("the server answered {}", other.as_str_name()).into()),
        }
    }
}

impl<S> fmt::Debug for GrpcProbe<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcProbe").field("service", &self.service).finish_non_exhaustive()
    }
}

/// An answer has a few bytes. The limit of tonic would be 4 MiB.
const MAX_BYTES: usize = 1_024;
