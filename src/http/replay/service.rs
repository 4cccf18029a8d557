//! The layer and its service.

use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::body::{MAX_BYTES, ReplayBody};

/// Gives requests a body that can be sent again. It stands outside the stack that repeats them.
///
/// Below the stack the body is a [`ReplayBody`]. A client for any body takes it as it is; for one that wants a body of
/// its own type, box it there: `Body::new` of axum and of tonic both take it.
///
/// ```
/// # use std::convert::Infallible;
/// use axum::body::Body;
/// use http::{Request, Response};
/// use http_body_util::BodyExt;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_reliability::{
///     ReliabilityStack,
///     http::{ReplayBody, ReplayLayer},
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_reliability::BoxError> {
/// # let channel = service_fn(|request: Request<Body>| async { Ok::<_, Infallible>(Response::new(request.into_body())) });
/// let stack = ReliabilityStack::builder().build()?;
/// let client = ServiceBuilder::new()
///     .layer(ReplayLayer::new())
///     .layer(stack)
///     .map_request(|request: Request<ReplayBody<Body>>| request.map(Body::new))
///     .service(channel);
///
/// let response = client.oneshot(Request::new(Body::from("an order"))).await?;
/// assert_eq!(response.into_body().collect().await?.to_bytes(), "an order");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayLayer {
    max_bytes: usize,
}

impl ReplayLayer {
    /// With the default cap.
    #[must_use]
    pub const fn new() -> Self {
        Self { max_bytes: MAX_BYTES }
    }

    /// How many bytes of each body are kept, of data and trailers; a request with a longer one is sent once.
    /// Default: 64 KiB.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }
}

impl Default for ReplayLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ReplayLayer {
    type Service = Replay<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Replay { inner, max_bytes: self.max_bytes }
    }
}

/// A service whose requests can be sent again by those below it.
#[derive(Clone, Copy, Debug)]
pub struct Replay<S> {
    inner: S,
    max_bytes: usize,
}

impl<S> Replay<S> {
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

impl<S, B> Service<Request<B>> for Replay<S>
where
    S: Service<Request<ReplayBody<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let max_bytes = self.max_bytes;
        self.inner.call(request.map(|body| ReplayBody::new(body).max_bytes(max_bytes)))
    }
}
