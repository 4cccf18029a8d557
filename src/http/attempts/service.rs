//! The layer and its service.

use std::task::{Context, Poll};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::future::ResponseFuture;
use crate::http::{extensions::put, resend::nested_history};

/// Reports the retries of inner layers in the response: `x-retry-attempt: 2` after two retries.
///
/// It is for servers and proxies that retry calls of their own. Three hops with three attempts each would make 27 calls.
/// With this layer in the inner hops, [`HttpClassifier`](crate::http::HttpClassifier) tells the outer retry to stand
/// down. Put the layer outside everything that may retry. Errors pass unchanged, so a
/// [`RejectionLayer`](crate::http::RejectionLayer) for their answers belongs inside this layer.
///
/// A gRPC response also gets `grpc-previous-rpc-attempts`, for the classifier of gRPC. It counts the retries before the
/// head, because a stream that has begun is not retried.
///
/// The layer counts with a [`CallHistory`](crate::CallHistory) in the request's extensions, nested in that of an outer
/// layer. A proxy passes the history on with the request. A handler that makes its own request copies the history:
///
/// ```
/// use axum::{Extension, Router, http::StatusCode, routing::get};
/// use tower_reliability::{CallHistory, http::ReportAttemptsLayer};
///
/// async fn order(Extension(history): Extension<CallHistory>) -> StatusCode {
///     let request = http::Request::get("http://stock.internal/").extension(history);
///     // … and send it through a stack that retries
///     # let _ = request.body(());
///     StatusCode::BAD_GATEWAY
/// }
///
/// let app: Router = Router::new()
///     .route("/order", get(order))
///     .layer(ReportAttemptsLayer);
/// ```
///
/// # Panics
///
/// It does not panic, and it needs no runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReportAttemptsLayer;

impl<S> Layer<S> for ReportAttemptsLayer {
    type Service = ReportAttempts<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ReportAttempts { inner }
    }
}

/// A service that reports retries in its responses. Made by [`ReportAttemptsLayer`].
#[derive(Clone, Copy, Debug)]
pub struct ReportAttempts<S> {
    inner: S,
}

impl<S> ReportAttempts<S> {
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

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ReportAttempts<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        // In the history of an outer retry, its own retries would look like retries of an inner layer.
        let history = nested_history(request.extensions());
        put(request.extensions_mut(), history.clone());
        ResponseFuture { inner: self.inner.call(request), history }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, io};

    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::call::CallHistory;

    /// Retries so often, and answers with the header of an inner server.
    async fn answer(retries: u64, inner: Option<&'static str>, request: Request<()>) -> Option<String> {
        let service = ReportAttemptsLayer.layer(service_fn(move |request: Request<()>| async move {
            let history = request.extensions().get::<CallHistory>().expect("there is one");
            (0..retries).for_each(|_| history.retried());
            let mut response = Response::new(());
            if let Some(value) = inner {
                response.headers_mut().insert("x-retry-attempt", http::HeaderValue::from_static(value));
            }
            Ok::<_, Infallible>(response)
        }));
        let response = service.oneshot(request).await.expect("an answer");
        response.headers().get("x-retry-attempt").map(|value| value.to_str().expect("text").to_owned())
    }

    #[tokio::test]
    async fn retries_are_reported_and_their_absence_is_not() {
        assert_eq!(answer(0, None, Request::new(())).await, None);
        assert_eq!(answer(2, None, Request::new(())).await.as_deref(), Some("2"));
        assert_eq!(answer(0, Some("1"), Request::new(())).await.as_deref(), Some("1"));
        assert_eq!(answer(2, Some("1"), Request::new(())).await.as_deref(), Some("2"));
    }

    #[tokio::test]
    async fn the_history_of_an_outer_layer_counts_and_its_own_retries_are_not_reported() {
        let history = CallHistory::new();
        history.retried();
        let mut request = Request::new(());
        request.extensions_mut().insert(history.clone());
        assert_eq!(answer(0, None, request.clone()).await, None);
        assert_eq!(answer(2, None, request).await.as_deref(), Some("2"));
        assert_eq!(history.retries(), 3);
    }

    #[tokio::test]
    async fn an_error_passes_unchanged() {
        let fails = service_fn(|_: Request<()>| async {
            Err::<Response<()>, _>(io::Error::from(io::ErrorKind::BrokenPipe))
        });
        let error = ReportAttemptsLayer.layer(fails).oneshot(Request::new(())).await.expect_err("it fails");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
