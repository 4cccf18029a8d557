//! A fallback for an upload that a real server answers early: the caller gets the other service's answer, or the
//! server's own answer with its body whole.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Body as AxumBody, response::IntoResponse, routing};
use bytes::Bytes;
use futures::{SinkExt, channel::mpsc, stream};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::{
    client::legacy::{self, Client},
    rt::TokioExecutor,
};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_reliability::{
    BoxError, Error, ErrorClass,
    fallback::FallbackConfig,
    http::{HttpClassifier, HttpResend, ReplayBody, ReplayLayer},
};

use crate::peers::serve;

type Upload = StreamBody<mpsc::Receiver<Result<Frame<Bytes>, Infallible>>>;
type Sent = Request<ReplayBody<Upload>>;
type Got = Response<AxumBody>;

/// Answers 503 at once. The body of the answer comes at the end of the upload, and says how long the upload was.
async fn early(upload: AxumBody) -> impl IntoResponse {
    let told = async { upload.collect().await.map(|upload| format!("{} bytes", upload.to_bytes().len())) };
    (StatusCode::SERVICE_UNAVAILABLE, AxumBody::from_stream(stream::once(told)))
}

/// A client of the early server with this other service, and the counts of the fallback.
async fn client<O>(other: O) -> impl Service<Request<Upload>, Response = Got, Error = Error<legacy::Error>>
where
    O: Service<Sent, Response = Got> + Clone,
{
    let address = serve(Router::new().route("/", routing::put(early))).await;
    let fallback = FallbackConfig::new().on(ErrorClass::Server).build().expect("valid");
    ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(fallback.service(other).resend(HttpResend::new()).classify(HttpClassifier::new()))
        .map_response(|response: Response<hyper::body::Incoming>| response.map(AxumBody::new))
        .map_err(Error::inner)
        .map_request(move |mut request: Sent| {
            *request.uri_mut() = format!("http://{address}/").parse().expect("a URI");
            request
        })
        .service(Client::builder(TokioExecutor::new()).build_http())
}

async fn text(response: Got) -> Result<String, BoxError> {
    Ok(String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?)
}

/// Half an upload is sent before the answer, and half when the caller has it.
async fn upload_in_halves(other: impl Service<Sent, Response = Got> + Clone) -> Result<String, BoxError> {
    let half = || Ok(Frame::data(Bytes::from(vec![0; 20_000])));
    let (mut send, body) = mpsc::channel(1);
    send.send(half()).await?;
    let client = client(other).await;
    let response = client.oneshot(Request::put("/").body(StreamBody::new(body))?).await?;
    assert_eq!(response.status(), 503);
    send.send(half()).await?;
    drop(send);
    text(response).await
}

#[tokio::test]
async fn case_72_an_early_answer_is_handed_back_whole_while_the_upload_goes_on() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let fails = service_fn(move |_: Sent| {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Err::<Got, _>(BoxError::from("down too")))
    });
    assert_eq!(upload_in_halves(fails).await.expect("the whole answer"), "40000 bytes");
    assert_eq!(asked.load(Ordering::SeqCst), 0, "there is no whole copy to ask it with");
}

/// The whole upload is sent before the call; the server answers early, at the latest when it has the upload.
async fn upload_at_once(other: impl Service<Sent, Response = Got> + Clone) -> Result<String, BoxError> {
    let (mut send, body) = mpsc::channel(1);
    send.send(Ok(Frame::data(Bytes::from_static(b"an order")))).await?;
    drop(send);
    let mut client = client(other).await;
    text(client.ready().await?.call(Request::put("/").body(StreamBody::new(body))?).await?).await
}

#[tokio::test]
async fn case_72_an_upload_that_was_sent_to_its_end_goes_to_the_other_service_whole() {
    let echoes = service_fn(|request: Sent| async {
        let upload = request.into_body().collect().await?.to_bytes();
        Ok::<_, BoxError>(Response::new(AxumBody::from(upload)))
    });
    let mut from_other = 0;
    for _ in 0..20 {
        let answer = upload_at_once(echoes).await.expect("an answer");
        assert!(["an order", "8 bytes"].contains(&answer.as_str()), "{answer}");
        from_other += usize::from(answer == "an order");
    }
    assert!(from_other > 0, "the other service has answered");
    let fails = service_fn(|request: Sent| async {
        request.into_body().collect().await?;
        Err::<Got, _>(BoxError::from("down too"))
    });
    for _ in 0..20 {
        assert_eq!(upload_at_once(fails).await.expect("the whole answer"), "8 bytes");
    }
}
