//! The layer and its service.

use std::task::{Context, Poll};

use ::http::Response;
use tower_layer::Layer;
use tower_service::Service;

use super::{body::GrpcOutcomeBody, future::ResponseFuture};
use crate::{
    call::{Outcome, PendingOutcome},
    grpc::GrpcClassifier,
    http::pending_outcomes::PendingOutcomes,
};

/// Tells how streams ended.
///
/// The layer tells once of every answer that [has begun](GrpcClassifier#streams): every stream and every successful
/// unary call. It tells at the trailers, at an error, or at the drop of the body. It does not tell of an answer whose
/// head carries the status, because layers that read heads have counted it.
///
/// An inner breaker with a [`deferred`](GrpcClassifier::deferred) classifier takes its votes from this layer. Probes
/// count by their heads:
///
/// ```
/// use tonic::transport::Channel;
/// use tonic_health::pb::health_client::HealthClient;
/// use tower::ServiceBuilder;
/// use tower_reliability::{
///     circuit_breaker::CircuitBreakerConfig,
///     grpc::{self, GrpcClassifier, GrpcRejectionLayer, StreamOutcomeLayer},
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let classifier = GrpcClassifier::new();
/// let stack = grpc::stack()
///     .circuit_breaker(CircuitBreakerConfig::new())
///     .classify(classifier.deferred())
///     .build()?;
/// let channel = Channel::from_static("http://[::1]:50051").connect_lazy();
/// let layers = ServiceBuilder::new()
///     .layer(GrpcRejectionLayer::new())
///     .layer(StreamOutcomeLayer::new(classifier))
///     .layer(stack);
/// let client = HealthClient::new(layers.service(channel));
/// # let _ = client;
/// # Ok(()) }
/// ```
///
/// Other layers count the same call as a success at its head. A closure feeds a log or a metric with the real end:
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use tonic::transport::Channel;
/// use tonic_health::pb::health_client::HealthClient;
/// use tower::ServiceBuilder;
/// use tower_reliability::{Outcome, grpc::{GrpcClassifier, StreamOutcomeLayer}};
///
/// static BROKEN: AtomicU64 = AtomicU64::new(0);
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let streams = StreamOutcomeLayer::new(GrpcClassifier::new()).on_end(|outcome| {
///     if let Outcome::Failure { .. } = outcome {
///         BROKEN.fetch_add(1, Ordering::Relaxed);
///     }
/// });
/// let channel = Channel::from_static("http://[::1]:50051").connect_lazy();
/// let service = ServiceBuilder::new().layer(streams).service(channel);
/// let client = HealthClient::new(service);
/// # let _ = client; }
/// ```
///
/// # Runtime, panics and clones
///
/// The layer needs no runtime and does not panic. A panic of the closure reaches the code that polls or drops the
/// body. Clones of the layer and its services share nothing but what the closure shares.
#[derive(Clone, Copy, Debug)]
pub struct StreamOutcomeLayer<F = fn(Outcome)> {
    classifier: GrpcClassifier,
    abandoned: Outcome,
    on_end: F,
}

impl StreamOutcomeLayer {
    /// Reads trailers with this classifier, and tells only the inner layers that wait for them.
    #[must_use]
    pub const fn new(classifier: GrpcClassifier) -> Self {
        Self { classifier, abandoned: Outcome::Ignored, on_end: ignore }
    }

    /// Holds a value, such as a permit, until the stream of this response has ended or is dropped.
    ///
    /// For a layer between the service and this layer. A response without a stream releases the value at its head.
    ///
    /// ```
    /// use std::{convert::Infallible, sync::Arc};
    /// use bytes::Bytes;
    /// use http::{Request, Response};
    /// use http_body_util::{BodyExt, Full};
    /// use tokio::sync::Semaphore;
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    /// use tower_reliability::grpc::{GrpcClassifier, StreamOutcomeLayer};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let slots = Arc::new(Semaphore::new(1));
    /// let taken = slots.clone();
    /// let answer = service_fn(move |_: Request<()>| {
    ///     let permit = taken.clone().try_acquire_owned().expect("there is one");
    ///     let head = Response::builder().header("content-type", "application/grpc");
    ///     let mut response = head.body(Full::<Bytes>::default()).expect("a response");
    ///     StreamOutcomeLayer::hold(&mut response, permit);
    ///     async { Ok::<_, Infallible>(response) }
    /// });
    /// let streams = StreamOutcomeLayer::new(GrpcClassifier::new());
    /// let service = ServiceBuilder::new().layer(streams).service(answer);
    /// let response = service.oneshot(Request::new(())).await?;
    /// assert_eq!(slots.available_permits(), 0);
    /// response.into_body().collect().await.map_err(|error| error.to_string())?;
    /// assert_eq!(slots.available_permits(), 1);
    /// # Ok(()) }
    /// ```
    pub fn hold<B>(response: &mut Response<B>, value: impl Send + 'static) {
        PendingOutcomes::leave(response.extensions_mut(), PendingOutcome::hold(value));
    }
}

impl<F> StreamOutcomeLayer<F> {
    /// Calls `on_end` with the outcome of every stream.
    ///
    /// The call runs where the body is polled or dropped, and must not block. Default: no call.
    pub fn on_end<G: Fn(Outcome) + Clone>(self, on_end: G) -> StreamOutcomeLayer<G> {
        StreamOutcomeLayer { classifier: self.classifier, abandoned: self.abandoned, on_end }
    }

    /// The outcome of a stream that is dropped before its end.
    ///
    /// A satisfied reader drops a stream, and so does an impatient one; the layer cannot tell them apart. Choose a
    /// failure only if every dropped stream means a server that hangs: with it, impatient readers open the circuit of
    /// a healthy server. Default: [`Ignored`](Outcome::Ignored), no vote in a breaker.
    #[must_use]
    pub fn abandoned(mut self, outcome: Outcome) -> Self {
        self.abandoned = outcome;
        self
    }
}

const fn ignore(_: Outcome) {}

impl<S, F: Clone> Layer<S> for StreamOutcomeLayer<F> {
    type Service = StreamOutcome<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        StreamOutcome { inner, layer: self.clone() }
    }
}

/// Tells how the streams of the inner service ended. See [`StreamOutcomeLayer`].
#[derive(Clone, Copy, Debug)]
pub struct StreamOutcome<S, F = fn(Outcome)> {
    inner: S,
    layer: StreamOutcomeLayer<F>,
}

impl<S, F> StreamOutcome<S, F> {
    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutably.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, F, B, Req> Service<Req> for StreamOutcome<S, F>
where
    S: Service<Req, Response = Response<B>>,
    F: Fn(Outcome) + Clone,
{
    type Response = Response<GrpcOutcomeBody<B, F>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, F>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let StreamOutcomeLayer { classifier, abandoned, ref on_end } = self.layer;
        ResponseFuture {
            inner: self.inner.call(request),
            classifier,
            abandoned,
            on_end: Some(on_end.clone()),
        }
    }
}
