//! Clients that send requests at a steady rate, whatever the answers.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderValue, Request, Uri},
};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    task::JoinSet,
    time::{Duration, timeout},
};

use super::{
    plan::{Kind, PATIENCE, RATE, Side, Timeline},
    score::{Sample, Scores},
    tick,
    upstreams::SIDE,
};

/// Sends the same requests through both gateways until the end, then waits for the last answers.
///
/// A slow answer does not slow the clients down, and its time counts from when the request was due. Otherwise a gateway
/// that stalls would get fewer requests, and its stall would be measured once.
pub(crate) async fn run(gateways: [SocketAddr; 2], timeline: Timeline, scores: Arc<Scores>) {
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let period = Duration::from_secs(1) / (RATE * 3);
    let start = timeline.began() + timeline.elapsed();
    let mut requests = JoinSet::new();
    for n in 0.. {
        tick(start, period, n).await;
        if timeline.elapsed() >= timeline.length() {
            break;
        }
        let due = start + period * n;
        let (kind, number) = (Kind::ALL[n as usize % 3], n / 3);
        for (side, gateway) in Side::ALL.into_iter().zip(gateways) {
            let url = format!("http://{gateway}/{}/{number}", kind.name());
            let (client, scores) = (client.clone(), Arc::clone(&scores));
            requests.spawn(async move {
                let answer = timeout(PATIENCE, ask(&client, &url, side)).await;
                let sample = Sample { at: timeline.elapsed(), took: due.elapsed(), good: answer == Ok(true) };
                scores.record(side, kind, sample);
            });
        }
        while requests.try_join_next().is_some() {}
    }
    while requests.join_next().await.is_some() {}
}

/// Whether a successful answer arrived whole.
async fn ask(client: &Client<HttpConnector, Body>, url: &str, side: Side) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri;
    request.headers_mut().insert(SIDE, HeaderValue::from_static(side.name()));
    match client.request(request).await {
        Ok(response) => response.status().is_success() && response.into_body().collect().await.is_ok(),
        Err(_) => false,
    }
}
