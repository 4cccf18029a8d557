//! A channel behind a stack, for generated clients.

use std::{
    fmt,
    task::{Context, Poll},
};

use ::http::{Request, Response};
use bytes::Bytes;
use tonic::{Status, body::Body};
use tower_layer::Layer;
use tower_service::Service;

use super::stream_outcome;
use crate::{
    call::{BoxError, IntoRejected},
    http::{
        Authority, ReplayBody,
        replay::{MAX_BYTES, replayable},
    },
    stack::{AwaitReady, Client, ClientFuture, ClientService, ReliabilityStack},
};

/// A channel behind a stack, for the generated clients of tonic. Made by [`ReliabilityStack::channel`].
///
/// A rejection reaches the caller as a [`Status`] whose source is the [`Rejected`](crate::Rejected). The message of the
/// status is one fixed sentence per code, so a handler may pass it on to a remote caller. A call takes one allocation
/// for its future.
///
/// ```
/// use std::{error::Error, time::Duration};
/// use tonic::transport::Channel;
/// use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
/// use tower_reliability::{
///     Rejected,
///     circuit_breaker::CircuitBreakerConfig,
///     grpc::{self, GrpcChannel},
/// };
///
/// #[derive(Clone)]
/// struct Api {
///     health: HealthClient<GrpcChannel>,
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn Error>> {
/// let stack = grpc::stack()
///     .timeout(Duration::from_secs(10))
///     .circuit_breaker(CircuitBreakerConfig::new())
///     .attempt_timeout(Duration::from_secs(2))
///     .build()?;
/// let channel = Channel::from_static("http://[::1]:9").connect_lazy();
/// let api = Api { health: HealthClient::new(stack.channel(channel)) };
///
/// // A generated client wants `&mut self`; a clone of it is cheap.
/// let request = HealthCheckRequest::default();
/// let status = api.health.clone().check(request).await.unwrap_err();
/// let source = status.source().and_then(|error| error.downcast_ref::<Rejected>());
/// match source {
///     Some(rejected) => println!("rejected by {rejected}"),
///     None => println!("{status}"),
/// }
/// # Ok(()) }
/// ```
///
/// # Clone
///
/// Clones share the channel, and so the state of every stage and the connections.
///
/// # Cancellation
///
/// Dropping the future of a call drops the running attempt.
///
/// # Runtime and panics
///
/// The channel needs a tokio runtime with time enabled, as tonic does. It does not panic by itself.
#[derive(Clone)]
pub struct GrpcChannel {
    client: Client<Request<ReplayBody<Body>>, Response<Body>, BoxError>,
    max_replay_bytes: usize,
    /// The key of the circuit and the budget of its requests.
    authority: Authority,
    /// Whether the user has named the authority. It then comes before the one in the URI of a request.
    is_named: bool,
}

impl<E, S> ReliabilityStack<E, S> {
    /// A channel behind this stack, for generated clients, with a type that a struct can name.
    ///
    /// `inner` is tonic's `Channel`, or a service around it. Retries and hedges can send its messages again, a rejection
    /// becomes a [`Status`], and a [`deferred`](super::GrpcClassifier::deferred) classifier learns how streams ended. So
    /// the channel needs none of [`ReplayLayer`](crate::http::ReplayLayer),
    /// [`GrpcRejectionLayer`](super::GrpcRejectionLayer) and [`StreamOutcomeLayer`](super::StreamOutcomeLayer). All
    /// channels and services of this stack share the state of every stage.
    ///
    /// A stage with state [per authority](crate::circuit_breaker::CircuitBreakerConfig::per_authority) has state for each
    /// channel that this method makes, since tonic's channel is the first to know its host. So make the channel once and
    /// clone the generated client: a channel that is made for each request never opens a circuit, and has a new retry
    /// budget each time. [`channel_to`](Self::channel_to) keeps the state by the name of the host.
    pub fn channel<Inner, B, Err>(&self, inner: Inner) -> GrpcChannel
    where
        Self: Layer<TonicBodies<AwaitReady<Inner>>>,
        <Self as Layer<TonicBodies<AwaitReady<Inner>>>>::Service: ClientService<Request<ReplayBody<Body>>>
            + Service<Request<ReplayBody<Body>>, Response = Response<B>, Error = Err>,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
        Err: IntoRejected<Other: Into<BoxError>> + 'static,
    {
        let service = self.layer(TonicBodies { inner: AwaitReady::new(inner) });
        GrpcChannel {
            client: Client::mapped(service, answer),
            max_replay_bytes: MAX_BYTES,
            authority: Authority::new_channel(),
            is_named: false,
        }
    }

    /// A [`channel`](Self::channel) to this host, for a stack with state per host.
    ///
    /// All channels of the stack with an equal `authority` share one circuit and one retry budget, however often they are
    /// made. Handles, rejections and events name the host. An [`Authority`] in the extensions of a request comes before
    /// it. Without a stage per authority, `authority` has no effect.
    ///
    /// ```
    /// use tonic::transport::Channel;
    /// use tonic_health::pb::health_client::HealthClient;
    /// use tower_reliability::{grpc, http::Authority};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let stack = grpc::standard().build()?;
    /// let endpoint = Channel::from_static("http://[::1]:50051");
    /// let host = Authority::of_uri(endpoint.uri());
    /// let health = HealthClient::new(stack.channel_to(host.clone(), endpoint.connect_lazy()));
    /// # let _ = health;
    ///
    /// let circuit = stack.circuit_breaker().get(&host);
    /// assert!(circuit.is_none(), "no call so far");
    /// # Ok(()) }
    /// ```
    pub fn channel_to<Inner, B, Err>(&self, authority: Authority, inner: Inner) -> GrpcChannel
    where
        Self: Layer<TonicBodies<AwaitReady<Inner>>>,
        <Self as Layer<TonicBodies<AwaitReady<Inner>>>>::Service: ClientService<Request<ReplayBody<Body>>>
            + Service<Request<ReplayBody<Body>>, Response = Response<B>, Error = Err>,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
        Err: IntoRejected<Other: Into<BoxError>> + 'static,
    {
        GrpcChannel { authority, is_named: true, ..self.channel(inner) }
    }
}

impl GrpcChannel {
    /// Limits the recorded bytes of the messages of each call. A longer request is sent once.
    ///
    /// A larger cap lets longer requests be retried, and costs up to that much memory per call in flight. Range: any; 0
    /// records nothing. Default: 64 KiB. The clones made before keep their cap.
    #[must_use]
    pub const fn max_replay_bytes(mut self, bytes: usize) -> Self {
        self.max_replay_bytes = bytes;
        self
    }
}

/// Always ready: a call waits for the inner channel in its future.
impl Service<Request<Body>> for GrpcChannel {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = ClientFuture<Response<Body>, BoxError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // tonic's channel adds the host later, inside the stack.
        let names_host = !self.is_named && request.uri().authority().is_some();
        if !names_host && request.extensions().get::<Authority>().is_none() {
            request.extensions_mut().insert(self.authority.clone());
        }
        self.client.call(replayable(request, self.max_replay_bytes))
    }
}

impl fmt::Debug for GrpcChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcChannel")
            .field("max_replay_bytes", &self.max_replay_bytes)
            .finish_non_exhaustive()
    }
}

/// A service of tonic's bodies, inside a stack of replayable ones. Part of a [`GrpcChannel`].
#[derive(Clone, Debug)]
pub struct TonicBodies<S> {
    inner: S,
}

impl<S: Service<Request<Body>>> Service<Request<ReplayBody<Body>>> for TonicBodies<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReplayBody<Body>>) -> S::Future {
        self.inner.call(request.map(Body::new))
    }
}

/// The response in tonic's body, or an error from which tonic makes the status.
fn answer<B, E>(result: Result<Response<B>, E>) -> Result<Response<Body>, BoxError>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    E: IntoRejected<Other: Into<BoxError>>,
{
    match result {
        Ok(response) => Ok(stream_outcome::watch_pending(response)),
        Err(error) => Err(match error.into_rejected() {
            Ok(rejected) => Status::from(rejected).into(),
            Err(error) => error.into(),
        }),
    }
}
