//! The layer and its service.

use std::{
    error::Error,
    task::{Context, Poll},
};

use ::http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::future::ResponseFuture;
use crate::{
    call::{PriorAttempts, Resend},
    http::{HttpResend, replay::ReplayBody, resend::copy_within_attempt},
};

/// Sends a request again when its reused connection turns out to be closed. For HTTP/1.1 clients of hyper-util.
///
/// It stands directly around the client, inside breaker and retry, which see only the last result. So the race costs
/// no vote, no budget and no delay. A request is sent again only if
///
/// - it is idempotent by its [`HttpResend`], and its body can be read again,
/// - the connection broke before an answer to it,
/// - the connection had carried an answer before. On a new connection a close is a failure of the server. The
///   client must use a [`TrackedConnector`](super::TrackedConnector); without it no request is sent again.
///
/// Each further connection comes from the pool, so it may be closed as well. After three of them the error is returned.
/// hyper does not tell a close before the answer from a close in the middle of its head; both are sent again.
///
/// ```
/// use http_body_util::Full;
/// use bytes::Bytes;
/// use hyper_util::client::legacy::{Client, connect::HttpConnector};
/// use hyper_util::rt::TokioExecutor;
/// use tower::ServiceBuilder;
/// use tower_reliability::http::{ReconnectLayer, ReplayLayer, TrackedConnector};
///
/// let connector = TrackedConnector::new(HttpConnector::new());
/// let client = ServiceBuilder::new()
///     .layer(ReplayLayer::new())
///     .layer(tower_reliability::http::stack().build()?)
///     .layer(ReconnectLayer::new())
///     .service(Client::builder(TokioExecutor::new()).build(connector));
/// # fn used<S: tower::Service<http::Request<Full<Bytes>>>>(_: S) {}
/// # used(client);
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
///
/// # Clone
///
/// Layers and services share nothing.
///
/// # Panics
///
/// It does not panic, and it needs no timer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReconnectLayer {
    resend: HttpResend,
}

impl ReconnectLayer {
    /// Sends again the requests that HTTP declares idempotent.
    #[must_use]
    pub const fn new() -> Self {
        Self { resend: HttpResend::new() }
    }

    /// Decides which requests may be sent again. Default: [`HttpResend::new`].
    #[must_use]
    pub const fn resend(mut self, resend: HttpResend) -> Self {
        self.resend = resend;
        self
    }
}

impl<S> Layer<S> for ReconnectLayer {
    type Service = Reconnect<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Reconnect { inner, resend: self.resend }
    }
}

/// A client whose requests survive a closed keep-alive connection. Made by [`ReconnectLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Reconnect<S> {
    inner: S,
    resend: HttpResend,
}

impl<S> Reconnect<S> {
    /// The inner client.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner client, mutably.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner client.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, ResBody> Service<Request<ReplayBody<B>>> for Reconnect<S>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<ResBody>> + Clone,
    S::Error: Error + 'static,
    B: Body,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReplayBody<B>>) -> Self::Future {
        let may_resend = self.resend.may_resend(&request, PriorAttempts::Ended);
        let copy = if may_resend { copy_within_attempt(&mut request) } else { None };
        let next = copy.map(|copy| (self.inner.clone(), copy));
        ResponseFuture::new(self.inner.call(request), next)
    }
}
