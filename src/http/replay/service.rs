//! The layer and its service.

use std::task::{Context, Poll};

use http::Request;
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::body::{MAX_BYTES, ReplayBody};
use crate::call::Upload;

/// Gives requests a body that can be sent more than once. The layer stands around the stack that retries or hedges.
///
/// A request whose body is not at its end also gets an [`Upload`] in its extensions. Each further attempt gets its
/// own. A request without a body costs no allocation.
///
/// The inner services see a [`ReplayBody`]. For a client that wants its own body type, box it there: `Body::new` of
/// axum and of tonic both take it.
///
/// ```
/// # use std::convert::Infallible;
/// use axum::body::Body;
/// use http::{Request, Response};
/// use http_body_util::BodyExt;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_reliability::{
///     BoxError, ReliabilityStack,
///     http::{ReplayBody, ReplayLayer},
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// # let channel = service_fn(|request: Request<Body>| async {
/// #     Ok::<_, Infallible>(Response::new(request.into_body()))
/// # });
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
///
/// # Clone
///
/// Layers and services share nothing.
///
/// # Panics
///
/// It does not panic, and it needs no runtime.
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

    /// Limits the recorded bytes of each body, data and trailers. A request with a longer body is sent once.
    ///
    /// A larger cap lets longer uploads be retried, and costs up to that much memory per request in flight. Range:
    /// any; 0 records nothing. Default: 64 KiB.
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

/// A service whose requests can be sent more than once. Made by [`ReplayLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Replay<S> {
    inner: S,
    max_bytes: usize,
}

impl<S> Replay<S> {
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

impl<S, B> Service<Request<B>> for Replay<S>
where
    S: Service<Request<ReplayBody<B>>>,
    B: Body,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.inner.call(replayable(request, self.max_bytes))
    }
}

/// The request with a body that can be sent more than once, and an upload.
pub(crate) fn replayable<B: Body>(request: Request<B>, max_bytes: usize) -> Request<ReplayBody<B>> {
    let mut request = request.map(|body| ReplayBody::new(body).max_bytes(max_bytes));
    watch_upload(&mut request);
    request
}

/// Starts an upload for this attempt, and puts it where the layers look for it.
pub(crate) fn watch_upload<B: Body>(request: &mut Request<ReplayBody<B>>) {
    let upload = (!request.body().is_at_end()).then(Upload::new);
    request.body_mut().report_to(upload.clone());
    match upload {
        Some(upload) => drop(request.extensions_mut().insert(upload)),
        // An outer attempt's upload says nothing about this one.
        None => drop(request.extensions_mut().remove::<Upload>()),
    }
}
