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
    time::{Duration, Instant, sleep_until, timeout},
};

use super::{
    plan::{Kind, PATIENCE, RATE, Side, Timeline},
    score::{Ending, Scores},
    upstreams::{SIDE, Source},
};

/// Sends the same requests through both gateways until the end, then waits for the last answers.
///
/// A slow answer does not slow the clients down, and its time counts from when the request was due. Otherwise a gateway
/// that stalls would get fewer requests, and its stall would be measured once.
pub(crate) async fn run(gateways: [SocketAddr; 2], timeline: Timeline, scores: Arc<Scores>) {
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let period = Duration::from_secs(1) / (RATE * 3);
    let start = timeline.began() + timeline.elapsed();
    // After a suspension, the clients do not ask for what was due meanwhile.
    let mut resumed = start;
    let mut requests = JoinSet::new();
    for n in 0.. {
        let due = start + period * n;
        sleep_until(due).await;
        if timeline.elapsed() >= timeline.length() {
            break;
        }
        if due.elapsed() > PATIENCE {
            resumed = Instant::now();
        }
        if due < resumed {
            continue;
        }
        let (kind, number) = (Kind::ALL[n as usize % 3], n / 3);
        for (side, gateway) in Side::ALL.into_iter().zip(gateways) {
            let url = format!("http://{gateway}/{}/{number}", kind.name());
            let (client, scores) = (client.clone(), Arc::clone(&scores));
            let sent = due.duration_since(timeline.began());
            scores.sent(side, kind, sent);
            requests.spawn(async move {
                let source = timeout(PATIENCE, ask(&client, &url, side)).await.ok().flatten();
                scores.ended(side, kind, Ending { sent, took: due.elapsed(), source });
            });
        }
        while requests.try_join_next().is_some() {}
    }
    while requests.join_next().await.is_some() {}
}

/// The source of a successful answer that arrived whole.
async fn ask(client: &Client<HttpConnector, Body>, url: &str, side: Side) -> Option<Source> {
    let uri = url.parse::<Uri>().ok()?;
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri;
    request.headers_mut().insert(SIDE, HeaderValue::from_static(side.name()));
    let response = client.request(request).await.ok()?;
    let source = Source::of(response.headers()).filter(|_| response.status().is_success())?;
    response.into_body().collect().await.ok()?;
    Some(source)
}
