//! The layer and its service.

use std::task::{Context, Poll};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::future::ResponseFuture;
use crate::http::resend::nested_history;

/// Says in a response how often this side has tried again: `x-retry-attempt: 2` after two retries.
///
/// It is for servers and proxies that call others and retry. Three hops that make three attempts each would make 27
/// calls of one; with this layer on the inner ones, [`HttpClassifier`](crate::http::HttpClassifier) tells a caller's
/// retry to stand down. It stands outside everything that may retry. Errors pass as they are, so that a rejection is
/// reported only where a [`RejectionLayer`](crate::http::RejectionLayer) below has made it an answer.
///
/// A gRPC response, as its `content-type` says, gets `grpc-previous-rpc-attempts` too, which the classifier for gRPC
/// reads. It counts what was tried before the head: a stream that has begun is not tried again.
///
/// It counts by a [`CallHistory`](crate::CallHistory) that it puts into the request's extensions, [below](crate::CallHistory::inner) the one that is there if
/// there is one, so that it reports what is tried again below it and not what is above. A proxy that sends the
/// request on hands the trail on with it; a handler that makes a request of its own puts the trail into that.
///
/// ```
/// use axum::{Extension, Router, http::StatusCode, routing::get};
/// use tower_reliability::{CallHistory, http::ReportAttemptsLayer};
///
/// async fn order(Extension(trail): Extension<CallHistory>) -> StatusCode {
///     let mut request = http::Request::get("http://stock.internal/").body(()).expect("a request");
///     request.extensions_mut().insert(trail);
///     // … and call the stock with it, through a stack that retries
///     # let _ = request;
///     StatusCode::BAD_GATEWAY
/// }
///
/// let app: Router = Router::new().route("/order", get(order)).layer(ReportAttemptsLayer);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ReportAttemptsLayer;

impl<S> Layer<S> for ReportAttemptsLayer {
    type Service = ReportAttempts<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ReportAttempts { inner }
    }
}

/// A service whose responses say how often those below have tried again.
#[derive(Clone, Copy, Debug)]
pub struct ReportAttempts<S> {
    inner: S,
}

impl<S> ReportAttempts<S> {
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
        // On the trail of a retry around this, that one's own attempts would look like those of somebody below.
        let history = nested_history(request.extensions());
        request.extensions_mut().insert(history.clone());
        ResponseFuture { inner: self.inner.call(request), history }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, io};

    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::call::CallHistory;

    /// Has tried again so often, and answers with the header of somebody further down.
    async fn answer(
        retries: u64,
        further_down: Option<&'static str>,
        request: Request<()>,
    ) -> Option<String> {
        let service = ReportAttemptsLayer.layer(service_fn(move |request: Request<()>| async move {
            let history = request.extensions().get::<CallHistory>().expect("there is one");
            (0..retries).for_each(|_| history.retried());
            let mut response = Response::new(());
            if let Some(value) = further_down {
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
    async fn the_trail_of_a_layer_further_out_is_told_and_its_own_retries_are_not_reported() {
        let history = CallHistory::new();
        history.retried();
        let mut request = Request::new(());
        request.extensions_mut().insert(history.clone());
        assert_eq!(answer(0, None, request.clone()).await, None);
        assert_eq!(answer(2, None, request).await.as_deref(), Some("2"));
        assert_eq!(history.retries(), 3);
    }

    #[tokio::test]
    async fn an_error_passes_as_it_is() {
        let fails = service_fn(|_: Request<()>| async {
            Err::<Response<()>, _>(io::Error::from(io::ErrorKind::BrokenPipe))
        });
        let error = ReportAttemptsLayer.layer(fails).oneshot(Request::new(())).await.expect_err("it fails");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
