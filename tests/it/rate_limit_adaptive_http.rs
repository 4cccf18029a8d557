//! Rates that adapt, over real sockets: the headers of an HTTP provider, and the status of a gRPC server.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header::RETRY_AFTER},
    routing::get,
};
use hyper::Request;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower_reliability::{
    http::{self, QuotaPolicy, QuotaState, RateLimitFields},
    rate_limit::{RateLimitConfig, adaptive::AdaptiveRateConfig},
    retry::RetryConfig,
};

use crate::{
    grpc_peers::{channel, serve_h2},
    peers::serve,
};

const SECOND: Duration = Duration::from_secs(1);
const ONE: HeaderValue = HeaderValue::from_static("1");
/// A thousand requests per second, as far as the client knows.
const LEARNS: RateLimitConfig = RateLimitConfig::per_second(1_000)
    .burst(1)
    .max_wait(Duration::from_secs(8))
    .adaptive(AdaptiveRateConfig::new());

/// A provider that answers so, and notes when. The first `refused` requests get 429 and these headers.
async fn provider(refused: u32, headers: HeaderMap) -> (String, Arc<Mutex<Vec<Instant>>>) {
    let (count, seen) = (AtomicU32::new(0), Arc::new(Mutex::new(Vec::new())));
    let log = Arc::clone(&seen);
    let count = Arc::new(count);
    let handler = async move || {
        log.lock().expect("no panic").push(Instant::now());
        match count.fetch_add(1, Ordering::Relaxed) {
            n if n < refused => (StatusCode::TOO_MANY_REQUESTS, headers.clone()),
            _ => (StatusCode::OK, HeaderMap::new()),
        }
    };
    (serve(Router::new().route("/", get(handler))).await, seen)
}

fn told(remaining: u64, reset: Duration) -> HeaderMap {
    let policy = QuotaPolicy::new("default", 100).window(60 * SECOND);
    let mut headers = HeaderMap::new();
    let fields = RateLimitFields::new([policy]).expect("a valid name");
    fields.write(&mut headers, &[QuotaState { remaining, reset: Some(reset) }]);
    headers
}

#[tokio::test]
async fn reqwest_waits_as_long_as_retry_after_says_and_keeps_the_rate_that_it_learns() {
    let (address, seen) = provider(1, HeaderMap::from_iter([(RETRY_AFTER, ONE)])).await;
    let stack = http::stack().retry(RetryConfig::new()).pacing(LEARNS).build().expect("valid");
    let client = stack.reqwest(reqwest::Client::new());
    let get = || client.get(format!("http://{address}/")).send();
    let answers = futures::future::join_all((0..5).map(|_| get())).await;
    let statuses: Vec<u16> = answers.into_iter().map(|it| it.expect("an answer").status().as_u16()).collect();
    assert_eq!(statuses, [200; 5]);
    let seen = seen.lock().expect("no panic").clone();
    let late = seen.iter().filter(|at| **at - seen[0] >= SECOND).count();
    let snapshot = stack.pacing().snapshot().adaptive.expect("it adapts");
    // The calls that had been sent before the answer came are no later congestion.
    assert!(late >= 1, "the retry has waited");
    assert_eq!(snapshot.decreases, 1);
    assert!((699.0..800.0).contains(&snapshot.per_second), "{snapshot:?}");
}

#[tokio::test]
async fn hyper_stops_at_an_empty_quota_until_its_reset() {
    let mut headers = told(0, 2 * SECOND);
    headers.insert(RETRY_AFTER, ONE);
    let (address, seen) = provider(1, headers).await;
    let stack = http::stack().pacing(LEARNS).build().expect("valid");
    let client = stack.client(Client::builder(TokioExecutor::new()).build_http());
    let get = || Request::get(format!("http://{address}/")).body(String::new()).expect("valid");
    let first = client.send(get()).await.expect("an answer");
    assert_eq!(first.status(), StatusCode::TOO_MANY_REQUESTS);
    let second = client.send(get()).await.expect("an answer");
    assert_eq!(second.status(), StatusCode::OK);
    let seen = seen.lock().expect("no panic").clone();
    let gap = seen[1] - seen[0];
    assert!((1_900..4_000).contains(&gap.as_millis()), "the reset is later than `Retry-After`: {gap:?}");
}

#[tokio::test]
async fn hyper_spreads_the_rest_of_a_quota() {
    let handler = async || (StatusCode::OK, told(100, 10 * SECOND));
    let address = serve(Router::new().route("/", get(handler))).await;
    let stack = http::stack().pacing(LEARNS).build().expect("valid");
    let client = stack.client(Client::builder(TokioExecutor::new()).build_http());
    let get = || Request::get(format!("http://{address}/")).body(String::new()).expect("valid");
    let began = Instant::now();
    for _ in 0..6 {
        client.send(get()).await.expect("an answer");
    }
    let snapshot = stack.pacing().snapshot().adaptive.expect("it adapts");
    assert_eq!(format!("{} {}", snapshot.per_second, snapshot.learnt_per_second), "10 1000");
    assert!(began.elapsed() >= SECOND * 4 / 10, "five waits of 100 ms, or nearly: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_grpc_server_that_is_exhausted_lowers_the_rate_and_its_pushback_pauses_it() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tower_reliability::grpc;

    let address = serve_h2(|mut respond| {
        let head = Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "8")
            .header("grpc-retry-pushback-ms", "5000");
        respond.send_response(head.body(()).expect("a head"), true).expect("the stream is open");
    });
    let stack = grpc::stack().pacing(LEARNS).build().expect("valid");
    let pacing = stack.pacing();
    let mut client = HealthClient::new(stack.channel(channel(&address.await)));
    let status = client.check(HealthCheckRequest::default()).await.expect_err("it is exhausted");
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    let snapshot = pacing.snapshot().adaptive.expect("it adapts");
    assert_eq!(format!("{} {}", snapshot.decreases, snapshot.per_second.round()), "1 700");
    assert!(snapshot.paused_for.is_some_and(|rest| rest > 3 * SECOND), "{snapshot:?}");
}
