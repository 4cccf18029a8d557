//! The question that a check asks an endpoint.

use std::{future::Future, net::SocketAddr};

use tokio::net::TcpStream;

use crate::call::BoxError;

/// A question to an endpoint. `Ok` is a passed check, and an error is a failed one.
///
/// Every closure is a probe that returns a future of a `Result`. An `Ok` value is dropped:
///
/// ```
/// use std::io;
/// use tower_reliability::health_check::Probe;
///
/// fn probe() -> impl Probe {
///     || async { std::env::current_dir().map(|_| ()).map_err(io::Error::other) }
/// }
/// # let _ = probe();
/// ```
///
/// The probe needs no timeout of its own, and it may panic: both are failed checks. Checks of one endpoint never overlap.
///
/// # Cancellation
///
/// The future is dropped at the [timeout](super::HealthCheckConfig::timeout), and when the
/// [`HealthCheck`](super::HealthCheck) is dropped.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no probe of a health check",
    label = "this is no probe",
    note = "a probe is a `TcpProbe`, `http::HttpProbe`, `grpc::GrpcProbe`, or a closure `Fn() -> impl Future<Output = Result<T, E>>` that is `Send + Sync + 'static`"
)]
pub trait Probe: Send + Sync + 'static {
    /// Asks the endpoint once.
    fn probe(&self) -> impl Future<Output = Result<(), BoxError>> + Send;
}

impl<F, Fut, T, E> Probe for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send,
    E: Into<BoxError>,
{
    async fn probe(&self) -> Result<(), BoxError> {
        self().await.map(drop).map_err(Into::into)
    }
}

/// A probe that connects to an address, and closes the connection.
///
/// It finds a process that is gone. A process that accepts connections and does not answer them passes the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpProbe {
    address: SocketAddr,
}

impl TcpProbe {
    /// Connects to this address.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self { address }
    }
}

impl Probe for TcpProbe {
    async fn probe(&self) -> Result<(), BoxError> {
        TcpStream::connect(self.address).await?;
        Ok(())
    }
}
