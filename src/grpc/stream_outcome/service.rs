//! The layer and its service.

use std::task::{Context, Poll};

use ::http::Response;
use tower_layer::Layer;
use tower_service::Service;

use super::{body::GrpcOutcomeBody, future::ResponseFuture, pending_outcomes::PendingOutcomes};
use crate::{
    call::{Outcome, PendingOutcome},
    grpc::GrpcClassifier,
};

/// Tells how streams end, which their heads do not say.
///
/// Every answer whose head has no `grpc-status` yet, so every stream and every unary call that went well, is told of
/// exactly once: at its trailers, at an error, or when its body is dropped. What the head has said already is not said
/// again, so that this and a layer that reads heads never both count one failure.
///
/// A breaker below, whose classifier says [`deferred`](GrpcClassifier::deferred), takes its vote from this, but for probes,
/// which it judges by their heads. Then nobody else need be told:
///
/// ```
/// use tonic_health::pb::health_client::HealthClient;
/// use tower::ServiceBuilder;
/// use tower_reliability::{
///     circuit_breaker::CircuitBreakerConfig,
///     grpc::{self, GrpcClassifier, GrpcRejectionLayer, StreamOutcomeLayer},
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let classifier = GrpcClassifier::new();
/// let stack = grpc::stack().circuit_breaker(CircuitBreakerConfig::new()).classify(classifier.deferred()).build()?;
/// let channel = tonic::transport::Channel::from_static("http://[::1]:50051").connect_lazy();
/// let layers = ServiceBuilder::new()
///     .layer(GrpcRejectionLayer)
///     .layer(StreamOutcomeLayer::new(classifier))
///     .layer(stack);
/// let client = HealthClient::new(layers.service(channel));
/// # let _ = client;
/// # Ok(()) }
/// ```
///
/// Any other layer takes the same call for a success when it begins; what is told here corrects the picture, for a log or
/// a metric:
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
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
/// let channel = tonic::transport::Channel::from_static("http://[::1]:50051").connect_lazy();
/// let client = HealthClient::new(ServiceBuilder::new().layer(streams).service(channel));
/// # let _ = client; }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct StreamOutcomeLayer<F = fn(Outcome)> {
    classifier: GrpcClassifier,
    abandoned: Option<Outcome>,
    on_end: F,
}

impl StreamOutcomeLayer {
    /// Reads trailers with this classifier, and tells nobody but the layers that wait for it.
    #[must_use]
    pub const fn new(classifier: GrpcClassifier) -> Self {
        Self { classifier, abandoned: None, on_end: nobody }
    }

    /// Holds a value, such as a permit, until the stream of this response has ended or is dropped; for layers between the
    /// service and this one. A response whose head has a status has no stream, and lets go of it there.
    ///
    /// ```
    /// use std::{convert::Infallible, sync::Arc};
    /// use http::{Request, Response};
    /// use http_body_util::{BodyExt, Full};
    /// use tokio::sync::Semaphore;
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    /// use tower_reliability::grpc::{GrpcClassifier, StreamOutcomeLayer};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let slots = Arc::new(Semaphore::new(1));
    /// let taken = slots.clone();
    /// let service = ServiceBuilder::new().layer(StreamOutcomeLayer::new(GrpcClassifier::new())).service_fn(
    ///     move |_: Request<()>| {
    ///         let permit = taken.clone().try_acquire_owned().expect("there is one");
    ///         let mut response = Response::new(Full::<bytes::Bytes>::default());
    ///         StreamOutcomeLayer::hold(&mut response, permit);
    ///         async { Ok::<_, Infallible>(response) }
    ///     },
    /// );
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
    /// Tells `on_end` of every stream, from wherever its body is polled or dropped. It must not wait. Default: nobody.
    pub fn on_end<G: Fn(Outcome) + Clone>(self, on_end: G) -> StreamOutcomeLayer<G> {
        StreamOutcomeLayer { classifier: self.classifier, abandoned: self.abandoned, on_end }
    }

    /// What to tell of a stream that is dropped before its end, also to the breakers that wait for it.
    ///
    /// Clients that stop listening as a matter of routine want [`Ignored`](Outcome::Ignored) here, or streams that they
    /// drop open the circuit. Default: `on_end` is told [`Ignored`](Outcome::Ignored), as a caller that has heard enough
    /// says nothing about the server; a breaker goes by its own policy for calls that are
    /// [abandoned](crate::circuit_breaker::CircuitBreakerConfig::abandoned), as it cannot tell that from a caller whose
    /// patience was over.
    #[must_use]
    pub fn abandoned(mut self, outcome: Outcome) -> Self {
        self.abandoned = Some(outcome);
        self
    }
}

const fn nobody(_: Outcome) {}

impl<S, F: Clone> Layer<S> for StreamOutcomeLayer<F> {
    type Service = StreamOutcome<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        StreamOutcome { inner, layer: self.clone() }
    }
}

/// A service whose streams are watched.
#[derive(Clone, Copy, Debug)]
pub struct StreamOutcome<S, F = fn(Outcome)> {
    inner: S,
    layer: StreamOutcomeLayer<F>,
}

impl<S, F> StreamOutcome<S, F> {
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
