//! Health checks over HTTP and gRPC, against real servers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::get};
use http_body_util::Full;
use hyper::{
    body::Bytes,
    header::{HOST, HeaderMap, HeaderValue},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic_health::ServingStatus;
use tower_reliability::{
    HealthStatus::{self, Healthy, Unhealthy},
    grpc::GrpcProbe,
    health_check::{HealthCheck, HealthCheckConfig, HealthChecker, Probe},
    http::HttpProbe,
};

use crate::peers::{listen, no_listener, serve, serve_bytes_and_hang};

/// One result changes the status, and the next check comes soon.
fn checker() -> HealthChecker {
    let soon = Duration::from_millis(10);
    HealthCheckConfig::new().interval(soon).rise(1).fall(1).build().expect("valid")
}

fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

fn probe(address: &str, path: &str) -> HttpProbe<Client<HttpConnector, Full<Bytes>>, Full<Bytes>> {
    HttpProbe::new(client(), format!("http://{address}{path}").parse().expect("a URI"))
}

/// The text of the failure of one check; empty if it passes.
async fn result(probe: impl Probe) -> String {
    probe.probe().await.err().map(|error| error.to_string()).unwrap_or_default()
}

async fn until(check: &HealthCheck, wanted: HealthStatus) {
    let mut status = check.subscribe();
    let end = tokio::time::timeout(Duration::from_secs(20), status.wait_for(|it| *it == wanted)).await;
    end.expect("in time").expect("the checks run");
}

#[tokio::test]
async fn an_http_probe_looks_at_the_status_and_the_body() {
    let app = Router::new()
        .route("/ok", get(|| async { "ready" }))
        .route("/empty", get(|| async { StatusCode::NO_CONTENT }))
        .route("/moved", get(|| async { (StatusCode::FOUND, [("location", "/ok")]) }))
        .route("/teapot", get(|| async { StatusCode::IM_A_TEAPOT }))
        .route("/long", get(|| async { vec![b'a'; 1 << 20] }))
        .route("/host", get(|headers: HeaderMap| async move { headers[HOST].as_bytes().to_vec() }));
    let address = serve(app).await;
    let to = |path| probe(&address, path);

    assert_eq!(result(to("/ok")).await, "");
    assert_eq!(result(to("/empty")).await, "");
    assert_eq!(result(to("/moved")).await, "unexpected status 302 Found");
    assert_eq!(result(to("/missing")).await, "unexpected status 404 Not Found");
    let teapot = [StatusCode::IM_A_TEAPOT];
    assert_eq!(result(to("/teapot").statuses(teapot)).await, "");
    assert_eq!(result(to("/ok").statuses(teapot)).await, "unexpected status 200 OK");

    let is_ready = |body: &[u8]| body == b"ready";
    assert_eq!(result(to("/ok").body(5, is_ready)).await, "");
    assert_eq!(result(to("/ok").body(4, is_ready)).await, "body exceeds 4 bytes");
    assert_eq!(result(to("/empty").body(5, is_ready)).await, "unexpected body");
    assert_eq!(result(to("/long").body(65_536, |_| true)).await, "body exceeds 65536 bytes");
    // The body of an unexpected status is not read.
    assert_eq!(result(to("/missing").body(5, |_| true)).await, "unexpected status 404 Not Found");

    let shop = HeaderValue::from_static("shop.example");
    assert_eq!(result(to("/host").header(HOST, shop).body(100, |body| body == b"shop.example")).await, "");
}

#[tokio::test]
async fn case_52_an_http_server_that_hangs_or_is_gone_is_unhealthy() {
    let gone = checker().start("gone", probe(&no_listener().await, "/"));
    until(&gone, Unhealthy).await;

    let config = HealthCheckConfig::new().timeout(Duration::from_millis(50)).fall(1);
    let checker = config.build().expect("valid");
    let head_only = serve_bytes_and_hang(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nre").await;
    let hangs = checker.start("hangs", probe(&head_only, "/").body(5, |_| true));
    until(&hangs, Unhealthy).await;
    let snapshot = hangs.snapshot();
    assert_eq!((snapshot.timed_out, snapshot.failed), (1, 0));
    // Without a look at the body, the head is enough.
    until(&checker.start("head", probe(&head_only, "/")), Healthy).await;
}

#[tokio::test]
async fn an_http_server_that_fails_and_recovers_changes_its_status() {
    let status = Arc::new(AtomicU16::new(200));
    let answered = Arc::clone(&status);
    let answer = move || async move {
        StatusCode::from_u16(answered.load(Ordering::Relaxed)).expect("a status of the test")
    };
    let address = serve(Router::new().route("/healthz", get(answer))).await;
    let check = checker().start(&address, probe(&address, "/healthz"));
    until(&check, Healthy).await;
    status.store(503, Ordering::Relaxed);
    until(&check, Unhealthy).await;
    let failure = check.snapshot().last_failure;
    assert_eq!(failure.as_deref(), Some("unexpected status 503 Service Unavailable"));
    status.store(200, Ordering::Relaxed);
    until(&check, Healthy).await;
}

fn channel(address: &str) -> Channel {
    Channel::from_shared(format!("http://{address}")).expect("a URI").connect_lazy()
}

#[tokio::test]
async fn a_grpc_probe_follows_the_health_service_of_a_server() {
    let (reporter, service) = tonic_health::server::health_reporter();
    let (listener, address) = listen().await;
    let serving =
        Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    let check = checker().start("whole", GrpcProbe::new(channel(&address)));
    until(&check, Healthy).await;

    let prices = || GrpcProbe::new(channel(&address)).service("shop.Prices");
    assert!(result(prices()).await.to_lowercase().contains("not found"), "{}", result(prices()).await);
    reporter.set_service_status("shop.Prices", ServingStatus::NotServing).await;
    assert_eq!(result(prices()).await, "the server answered NOT_SERVING");
    let check = checker().start("prices", prices());
    until(&check, Unhealthy).await;
    reporter.set_service_status("shop.Prices", ServingStatus::Serving).await;
    until(&check, Healthy).await;
}

#[tokio::test]
async fn a_server_without_a_health_service_fails_the_grpc_probe() {
    let gone = result(GrpcProbe::new(channel(&no_listener().await))).await;
    assert!(!gone.is_empty());
    // An HTTP/1 server does not speak gRPC.
    let http1 = serve(Router::new()).await;
    assert!(!result(GrpcProbe::new(channel(&http1))).await.is_empty());
    let (listener, address) = listen().await;
    let routes = tonic::service::Routes::default();
    let serving = Server::builder().add_routes(routes).serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    let unimplemented = result(GrpcProbe::new(channel(&address))).await;
    assert!(unimplemented.to_lowercase().contains("not implemented"), "{unimplemented}");
}
