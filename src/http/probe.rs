//! A health check by an HTTP request.

use std::{
    fmt,
    future::poll_fn,
    marker::PhantomData,
    pin::pin,
    sync::Arc,
    task::{Poll, ready},
};

use ::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use bytes::{Buf, BufMut};
use http_body::Body;
use tower_service::Service;

use crate::{call::BoxError, health_check::Probe};

/// A health check that sends a GET request, and looks at the status and at the body of the response.
///
/// `client` is hyper's client, or any other service of HTTP requests. The request has an empty body, `B::default()`. By
/// default every 2xx status passes, and the body is not read. A redirect fails.
///
/// ```
/// use http_body_util::Empty;
/// use hyper::{StatusCode, body::Bytes};
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower_reliability::{health_check::HealthCheckConfig, http::HttpProbe};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
/// let probe = HttpProbe::new(client, "http://10.0.0.1:8080/healthz".parse()?)
///     .statuses([StatusCode::OK, StatusCode::NO_CONTENT])
///     .body(1_024, |body| body.starts_with(b"ready"));
/// let check = HealthCheckConfig::new().build()?.start("10.0.0.1:8080", probe);
/// # let _ = check;
/// # Ok(()) }
/// ```
///
/// # Clone
///
/// Clones share the predicate, and the client as its clones do.
#[derive(Clone)]
pub struct HttpProbe<S, B> {
    client: S,
    uri: Uri,
    headers: HeaderMap,
    /// Empty for every 2xx.
    statuses: Vec<StatusCode>,
    body: Option<BodyRule>,
    request: PhantomData<fn() -> B>,
}

#[derive(Clone)]
struct BodyRule {
    max_bytes: usize,
    passes: Arc<Predicate>,
}

type Predicate = dyn Fn(&[u8]) -> bool + Send + Sync;

impl<S, B> HttpProbe<S, B> {
    /// Requests this URI. hyper's client wants scheme and host in it.
    pub fn new(client: S, uri: Uri) -> Self {
        Self {
            client,
            uri,
            headers: HeaderMap::new(),
            statuses: Vec::new(),
            body: None,
            request: PhantomData,
        }
    }

    /// Passes these statuses only. Default: every 2xx.
    #[must_use]
    pub fn statuses(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.statuses = statuses.into_iter().collect();
        self
    }

    /// Adds a header to the request, such as a token or a `Host`.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Reads the body of a response, and passes the check if `passes` says so.
    ///
    /// A body of more than `max_bytes` fails the check. So an endpoint cannot fill the memory. Default: the body is not
    /// read.
    #[must_use]
    pub fn body(mut self, max_bytes: usize, passes: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        self.body = Some(BodyRule { max_bytes, passes: Arc::new(passes) });
        self
    }

    fn request(&self) -> Request<B>
    where
        B: Default,
    {
        let mut request = Request::new(B::default());
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    fn is_expected(&self, status: StatusCode) -> bool {
        if self.statuses.is_empty() { status.is_success() } else { self.statuses.contains(&status) }
    }
}

impl<S, B, RB> Probe for HttpProbe<S, B>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Default + 'static,
    RB: Body + Send,
    RB::Error: Into<BoxError>,
{
    async fn probe(&self) -> Result<(), BoxError> {
        let mut client = self.client.clone();
        poll_fn(|cx| client.poll_ready(cx).map_err(Into::into)).await?;
        let call = client.call(self.request());
        let response = call.await.map_err(Into::into)?;
        let status = response.status();
        if !self.is_expected(status) {
            return Err(format!("unexpected status {status}").into());
        }
        let Some(rule) = &self.body else { return Ok(()) };
        let body = read(response.into_body(), rule.max_bytes).await?;
        if (rule.passes)(&body) { Ok(()) } else { Err("unexpected body".into()) }
    }
}

impl<S, B> fmt::Debug for HttpProbe<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpProbe")
            .field("uri", &self.uri)
            .field("statuses", &self.statuses)
            .finish_non_exhaustive()
    }
}

/// A whole body, or an error if it is too long.
async fn read<B: Body<Error: Into<BoxError>>>(body: B, max_bytes: usize) -> Result<Vec<u8>, BoxError> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    poll_fn(|cx| {
        loop {
            match ready!(body.as_mut().poll_frame(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if data.remaining() > max_bytes - bytes.len() {
                        return Poll::Ready(Err(format!("body exceeds {max_bytes} bytes").into()));
                    }
                    bytes.put(data);
                }
            }
        }
    })
    .await
    .map(|()| bytes)
}
