//! The client.

use std::{
    fmt,
    task::{Context, Poll},
};

use reqwest::{IntoUrl, Method, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::request::ReqwestRequest;
use crate::{
    call::Error,
    stack::{Client, ClientFuture, ClientService, ReliabilityStack, WrappedErrors},
};

/// A reqwest client behind a stack, called as reqwest is. Made by [`ReliabilityStack::reqwest`].
///
/// `get`, `post` and their siblings begin a request, and [`execute`](Self::execute) sends one that exists. A call takes
/// one allocation for its future.
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
/// The client needs a tokio runtime with time enabled, as reqwest does. It does not panic by itself.
#[derive(Clone)]
pub struct ReqwestClient {
    /// Builds requests, and sends none.
    builder: reqwest::Client,
    client: Client<Request, Response, Error<reqwest::Error>>,
}

impl<S> ReliabilityStack<WrappedErrors, S> {
    /// A reqwest client behind this stack, with a type that a struct can name.
    ///
    /// All clients and services of this stack share the state of every stage. A stack with
    /// [`flat_errors`](crate::stack::StackBuilder::flat_errors) lacks this method, since reqwest's error can carry no
    /// rejection.
    pub fn reqwest(&self, inner: reqwest::Client) -> ReqwestClient
    where
        Self: Layer<reqwest::Client>,
        <Self as Layer<reqwest::Client>>::Service:
            ClientService<Request> + Service<Request, Response = Response, Error = Error<reqwest::Error>>,
    {
        ReqwestClient { builder: inner.clone(), client: Client::new(self.layer(inner)) }
    }
}

impl ReqwestClient {
    /// Sends a request through the stack.
    ///
    /// # Errors
    ///
    /// A rejection by a stage, or the error of reqwest.
    pub fn execute(&self, request: Request) -> ClientFuture<Response, Error<reqwest::Error>> {
        self.client.call(request)
    }

    /// Begins a request with this method.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> ReqwestRequest {
        ReqwestRequest::new(self.clone(), self.builder.request(method, url))
    }

    /// Begins a GET request.
    pub fn get(&self, url: impl IntoUrl) -> ReqwestRequest {
        self.request(Method::GET, url)
    }

    /// Begins a HEAD request.
    pub fn head(&self, url: impl IntoUrl) -> ReqwestRequest {
        self.request(Method::HEAD, url)
    }

    /// Begins a POST request.
    ///
    /// It is retried after a failure only with a header `Idempotency-Key`.
    pub fn post(&self, url: impl IntoUrl) -> ReqwestRequest {
        self.request(Method::POST, url)
    }

    /// Begins a PUT request.
    pub fn put(&self, url: impl IntoUrl) -> ReqwestRequest {
        self.request(Method::PUT, url)
    }

    /// Begins a PATCH request.
    ///
    /// It is retried after a failure only with a header `Idempotency-Key`.
    pub fn patch(&self, url: impl IntoUrl) -> ReqwestRequest {
        self.request(Method::PATCH, url)
    }

    /// Begins a DELETE request.
    pub fn delete(&self, url: impl IntoUrl) -> ReqwestRequest {
        self.request(Method::DELETE, url)
    }
}

/// Always ready: a call waits for the inner client in its future.
impl Service<Request> for ReqwestClient {
    type Response = Response;
    type Error = Error<reqwest::Error>;
    type Future = ClientFuture<Response, Error<reqwest::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.execute(request)
    }
}

impl fmt::Debug for ReqwestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestClient").field("builder", &self.builder).finish_non_exhaustive()
    }
}
