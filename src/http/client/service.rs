//! The client.

use std::{
    fmt,
    task::{Context, Poll},
};

use ::http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use tower_layer::Layer;
use tower_service::Service;

use super::body::BoxBody;
use crate::{
    call::{BoxError, Error},
    http::replay::{MAX_BYTES, ReplayBody, replayable},
    stack::{AwaitReady, Client, ClientFuture, ClientService, ReliabilityStack},
};

/// An HTTP client behind a stack, called with `&self`. Made by [`ReliabilityStack::client`].
///
/// `B` is the body of responses, and `E` the error. Both default to those of hyper-util's client. A call takes one
/// allocation for its future, and another one for a body that is not at its end.
///
/// The [page of the module](super) has an example.
///
/// # Clone
///
/// Clones share the client, and so the state of every stage and the connections.
///
/// # Cancellation
///
/// Dropping the future of a call drops the running attempt.
///
/// # Runtime and panics
///
/// The client needs the runtime of the inner client and does not panic by itself.
pub struct HttpClient<B = Incoming, E = Error<legacy::Error>> {
    client: Client<Request<ReplayBody<BoxBody>>, Response<B>, E>,
    max_replay_bytes: usize,
}

impl<E, S> ReliabilityStack<E, S> {
    /// An HTTP client behind this stack, with a type that a struct can name.
    ///
    /// `inner` is a client of hyper-util, or another service of HTTP requests that takes every body type. The client
    /// makes the bodies of requests replayable, so it needs no [`ReplayLayer`](crate::http::ReplayLayer). All clients
    /// and services of this stack share the state of every stage.
    pub fn client<Inner, B, Err>(&self, inner: Inner) -> HttpClient<B, Err>
    where
        Self: Layer<AwaitReady<Inner>>,
        <Self as Layer<AwaitReady<Inner>>>::Service: ClientService<Request<ReplayBody<BoxBody>>>
            + Service<Request<ReplayBody<BoxBody>>, Response = Response<B>, Error = Err>,
        B: 'static,
        Err: 'static,
    {
        HttpClient { client: self.service(inner), max_replay_bytes: MAX_BYTES }
    }
}

impl<B, E> HttpClient<B, E> {
    /// Limits the recorded bytes of each request body, data and trailers. A request with a longer body is sent once.
    ///
    /// A larger cap lets longer uploads be retried, and costs up to that much memory per request in flight. Range:
    /// any; 0 records nothing. Default: 64 KiB. The clones made before keep their cap.
    #[must_use]
    pub const fn max_replay_bytes(mut self, bytes: usize) -> Self {
        self.max_replay_bytes = bytes;
        self
    }

    /// Sends a request through the stack.
    ///
    /// # Errors
    ///
    /// A rejection by a stage, or the error of the inner client.
    pub fn send<T>(&self, request: Request<T>) -> ClientFuture<Response<B>, E>
    where
        T: Body<Error: Into<BoxError>> + Send + 'static,
    {
        self.client.call(replayable(request.map(BoxBody::new), self.max_replay_bytes))
    }
}

/// Always ready: a call waits for the inner client in its future.
impl<T, B, E> Service<Request<T>> for HttpClient<B, E>
where
    T: Body<Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<B>;
    type Error = E;
    type Future = ClientFuture<Response<B>, E>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<T>) -> Self::Future {
        self.send(request)
    }
}

impl<B, E> Clone for HttpClient<B, E> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), max_replay_bytes: self.max_replay_bytes }
    }
}

impl<B, E> fmt::Debug for HttpClient<B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("max_replay_bytes", &self.max_replay_bytes).finish_non_exhaustive()
    }
}
