//! A request that is being built.

use std::{fmt::Display, time::Duration};

use ::http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Request, RequestBuilder, Response};
use serde::Serialize;

use super::client::ReqwestClient;
use crate::call::Error;

/// A request that is being built, as reqwest's `RequestBuilder`. [`send`](Self::send) sends it through the stack.
///
/// It is not `Clone`, because reqwest cannot clone every body. It does not panic.
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct ReqwestRequest {
    client: ReqwestClient,
    builder: RequestBuilder,
}

impl ReqwestRequest {
    pub(super) const fn new(client: ReqwestClient, builder: RequestBuilder) -> Self {
        Self { client, builder }
    }

    /// Changes the request with any method of reqwest's builder, such as `multipart`.
    ///
    /// ```
    /// # fn request(client: &tower_reliability::http::ReqwestClient) {
    /// let request = client
    ///     .get("http://127.0.0.1:9/")
    ///     .map(|request| request.version(http::Version::HTTP_11));
    /// # let _ = request; }
    /// ```
    pub fn map(self, change: impl FnOnce(RequestBuilder) -> RequestBuilder) -> Self {
        Self { client: self.client, builder: change(self.builder) }
    }

    /// Adds a header.
    pub fn header<K, V>(self, name: K, value: V) -> Self
    where
        HeaderName: TryFrom<K>,
        <HeaderName as TryFrom<K>>::Error: Into<::http::Error>,
        HeaderValue: TryFrom<V>,
        <HeaderValue as TryFrom<V>>::Error: Into<::http::Error>,
    {
        self.map(|request| request.header(name, value))
    }

    /// Adds these headers, in place of earlier ones with the same name.
    pub fn headers(self, headers: HeaderMap) -> Self {
        self.map(|request| request.headers(headers))
    }

    /// Adds a header with user name and password.
    pub fn basic_auth(self, user: impl Display, password: Option<impl Display>) -> Self {
        self.map(|request| request.basic_auth(user, password))
    }

    /// Adds a header with a bearer token.
    pub fn bearer_auth(self, token: impl Display) -> Self {
        self.map(|request| request.bearer_auth(token))
    }

    /// Adds these pairs to the query of the URL.
    pub fn query<T: Serialize + ?Sized>(self, query: &T) -> Self {
        self.map(|request| request.query(query))
    }

    /// Sets the body. A body that is a stream is sent once.
    pub fn body(self, body: impl Into<Body>) -> Self {
        self.map(|request| request.body(body))
    }

    /// Sets the body to this value in JSON.
    pub fn json<T: Serialize + ?Sized>(self, json: &T) -> Self {
        self.map(|request| request.json(json))
    }

    /// Sets the body to this value as an encoded form.
    pub fn form<T: Serialize + ?Sized>(self, form: &T) -> Self {
        self.map(|request| request.form(form))
    }

    /// Limits each attempt, up to the end of the body of its response. Default: reqwest's.
    pub fn timeout(self, limit: Duration) -> Self {
        self.map(|request| request.timeout(limit))
    }

    /// The request, for [`ReqwestClient::execute`].
    ///
    /// # Errors
    ///
    /// The first error of an earlier call, such as an invalid URL.
    pub fn build(self) -> reqwest::Result<Request> {
        self.builder.build()
    }

    /// Sends the request through the stack.
    ///
    /// # Errors
    ///
    /// A rejection by a stage, an error of reqwest, or the first error while the request was built.
    ///
    /// # Cancellation
    ///
    /// Dropping the future drops the running attempt.
    pub async fn send(self) -> Result<Response, Error<reqwest::Error>> {
        let request = self.builder.build().map_err(Error::Inner)?;
        self.client.execute(request).await
    }
}
