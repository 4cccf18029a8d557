//! Retries of uploads that were answered early or given up, over HTTP/1.1: the transport still holds the body then.

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body as AxumBody, response::IntoResponse, routing};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderMap, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{ServiceBuilder, ServiceExt};
use tower_reliability::{
    Error, Protocol,
    http::{HttpClassifier, HttpResend, ReplayBody, ReplayLayer},
    retry::{Jitter, RetryConfig, RetryCounts, RetryLayer},
    retry_budget::RetryBudget,
    timeout::TimeoutConfig,
};

use crate::peers::serve;

type Upload = StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// A row of frames, of which the last comes after the attempts that fail.
fn upload() -> Upload {
    let frames = stream::iter(0..3).then(|number| async move {
        tokio::time::sleep(Duration::from_millis(if number == 0 { 0 } else { 60 })).await;
        Ok(Frame::data(Bytes::from_static(b"part ")))
    });
    StreamBody::new(frames.boxed())
}

/// How the server meets the first attempt of each call.
#[derive(Clone, Copy, Debug)]
enum First {
    AnsweredEarly,
    NeverAnswered,
}

/// Every call is tried again; returns what the retry has counted.
async fn upload_often(first: First) -> RetryCounts {
    let handler = move |headers: HeaderMap, body: AxumBody| async move {
        match first {
            _ if headers.contains_key("x-retry-attempt") => {
                body.collect().await.expect("a whole body").to_bytes().into_response()
            }
            First::AnsweredEarly => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            First::NeverAnswered => std::future::pending().await,
        }
    };
    let address = serve(Router::new().route("/", routing::put(handler))).await;
    let config =
        RetryConfig::fixed(Duration::ZERO).jitter(Jitter::None).max_attempts(9).build().expect("valid");
    let retry: RetryLayer<Protocol<_, _>> =
        config.budget(RetryBudget::unlimited()).classify(HttpClassifier::new()).resend(HttpResend::new());
    let limit = match first {
        First::AnsweredEarly => Duration::from_secs(5),
        First::NeverAnswered => PATIENCE,
    };
    let transport: Client<HttpConnector, ReplayBody<Upload>> =
        Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http();
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(retry.clone())
        .layer(TimeoutConfig::new(limit).build().expect("valid"))
        .map_err(Error::inner)
        .service(transport);
    for _ in 0..CALLS {
        let request = Request::put(format!("http://{address}/")).body(upload()).expect("a request");
        let response = client.clone().oneshot(request).await.expect("an answer");
        assert_eq!(response.status(), 200, "{first:?}");
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(body, "part part part ", "{first:?}");
    }
    retry.handle().snapshot().counts
}

async fn every_upload_is_tried_again() {
    for first in [First::AnsweredEarly, First::NeverAnswered] {
        let counts = upload_often(first).await;
        assert_eq!((counts.recovered, counts.not_resendable), (CALLS, 0), "{first:?}");
    }
}

#[tokio::test]
async fn an_upload_that_is_answered_early_or_given_up_in_its_midst_is_always_tried_again() {
    every_upload_is_tried_again().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_where_the_transport_runs_on_another_thread() {
    every_upload_is_tried_again().await;
}

const CALLS: u64 = 20;
/// Less than an upload takes, and more than what is left of it for the second attempt.
const PATIENCE: Duration = Duration::from_millis(100);
