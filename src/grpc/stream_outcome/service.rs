//! The layer and its service.

use std::task::{Context, Poll};

use ::http::Response;
use tower_layer::Layer;
use tower_service::Service;

use super::{body::GrpcOutcomeBody, future::ResponseFuture};
use crate::{Outcome, grpc::GrpcClassifier};

/// Tells how streams end, which their heads do not say.
///
/// Every answer whose head has no `grpc-status` yet, so every stream and every unary call that went well, is told of
/// exactly once: at its trailers, at an error, or when its body is dropped. What the head has said already is not said
/// again, so that this and a layer that reads heads never both count one failure.
///
/// A layer that reads heads takes the same call for a success when it begins; what is told here corrects the picture,
/// for a log, a metric, or a breaker of one's own:
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
    abandoned: Outcome,
    on_end: F,
}

impl StreamOutcomeLayer {
    /// Reads trailers with this classifier, and tells nobody yet.
    #[must_use]
    pub const fn new(classifier: GrpcClassifier) -> Self {
        Self { classifier, abandoned: Outcome::Ignored, on_end: nobody }
    }
}

impl<F> StreamOutcomeLayer<F> {
    /// Tells `on_end` of every stream, from wherever its body is polled or dropped. It must not wait. Default: nobody.
    pub fn on_end<G: Fn(Outcome) + Clone>(self, on_end: G) -> StreamOutcomeLayer<G> {
        StreamOutcomeLayer { classifier: self.classifier, abandoned: self.abandoned, on_end }
    }

    /// What to tell of a stream that is dropped before its end. Default: [`Ignored`](Outcome::Ignored); a caller that
    /// has heard enough says nothing about the server.
    #[must_use]
    pub fn abandoned(mut self, outcome: Outcome) -> Self {
        self.abandoned = outcome;
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
