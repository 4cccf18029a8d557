//! The layer and its service.

use std::task::{Context, Poll, ready};

use ::http::Response;
use tower_layer::Layer;
use tower_service::Service;

use super::future::ResponseFuture;
use crate::{IntoRejected, Rejected};

/// Turns rejections into gRPC answers, in a server and in a client alike.
///
/// An open circuit is `UNAVAILABLE`, with `grpc-retry-pushback-ms` where a time is known, and a timeout is
/// `DEADLINE_EXCEEDED`. It stands outside the layers whose rejections it answers. What is no rejection passes as it is.
///
/// Without it, a server of tonic's resets the stream, and a client of tonic's calls it `UNKNOWN`.
///
/// ```
/// use std::time::Duration;
/// use tonic::transport::{Channel, Server};
/// use tonic_health::pb::health_client::HealthClient;
/// use tower::ServiceBuilder;
/// use tower_reliability::{ReliabilityStack, circuit_breaker::CircuitBreakerConfig, grpc::*};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let stack = ReliabilityStack::builder()
///     .timeout(Duration::from_secs(10))
///     .circuit_breaker(CircuitBreakerConfig::new())
///     .classify(GrpcClassifier::new())
///     .limits(GrpcTimeout)
///     .build()?;
/// let channel = Channel::from_static("http://[::1]:50051").connect_lazy();
/// let client = HealthClient::new(ServiceBuilder::new().layer(GrpcRejectionLayer).layer(stack).service(channel));
///
/// let stack = ReliabilityStack::builder().timeout(Duration::from_secs(5)).limits(GrpcTimeout).build()?;
/// let server = Server::builder().layer(ServiceBuilder::new().layer(GrpcRejectionLayer).layer(stack).into_inner());
/// # let _ = (client, server);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcRejectionLayer;

impl<S> Layer<S> for GrpcRejectionLayer {
    type Service = GrpcRejection<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GrpcRejection { inner, turned_away: None }
    }
}

/// A service that answers where the one below turns away.
#[derive(Debug)]
pub struct GrpcRejection<S> {
    inner: S,
    /// A layer below turned the caller away before there was a call. The call is answered without asking it again.
    turned_away: Option<Rejected>,
}

impl<S> GrpcRejection<S> {
    /// The service below.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service below, mutably.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the service out.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, Req> Service<Req> for GrpcRejection<S>
where
    S: Service<Req, Response = Response<B>>,
    S::Error: IntoRejected,
    B: Default,
{
    type Response = Response<B>;
    type Error = <S::Error as IntoRejected>::Other;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match ready!(self.inner.poll_ready(cx)).map_err(IntoRejected::into_rejected) {
            Ok(()) => self.turned_away = None,
            Err(Ok(rejected)) => self.turned_away = Some(rejected),
            Err(Err(other)) => return Poll::Ready(Err(other)),
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match self.turned_away.take() {
            Some(rejected) => ResponseFuture::rejected(rejected),
            None => ResponseFuture::running(self.inner.call(request)),
        }
    }
}

impl<S: Clone> Clone for GrpcRejection<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), turned_away: None }
    }
}
