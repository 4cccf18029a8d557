//! The server stack around a server of tonic, over real sockets.

use std::time::Duration;

use tokio::time::sleep;
use tonic::{Code, Request};
use tonic_health::pb::health_client::HealthClient;
use tower_reliability::{
    concurrency_limit::ConcurrencyLimitConfig, drain::DrainConfig, grpc, rate_limit::RateLimitConfig,
    wait_queue::WaitQueueConfig,
};

use crate::grpc_peers::{Scripted, ask, channel, serve};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Waits until the condition holds.
async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn case_59_a_rejected_call_takes_nothing_of_an_inner_stage() {
    let health = Scripted::default();
    let server = grpc::server()
        .drain(DrainConfig::new())
        .rate_limit(RateLimitConfig::per(1, HOUR).burst(2))
        .concurrency_limit(ConcurrencyLimitConfig::new(1).queue(WaitQueueConfig::none()))
        .timeout(Duration::from_millis(200))
        .build()
        .expect("valid");
    let address = serve(health.clone(), server.clone()).await;
    let mut client = HealthClient::new(channel(&address));
    let tokens = || server.rate_limit().snapshot().tokens;

    let mut expired = Request::new(ask(""));
    expired.metadata_mut().insert("grpc-timeout", "0n".parse().expect("ASCII"));
    let status = client.check(expired).await.expect_err("it has expired");
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    assert_eq!((tokens(), health.calls()), (Some(2), 0));

    client.check(ask("")).await.expect("an answer");
    let status = client.check(ask("hangs")).await.expect_err("it hangs");
    assert_eq!((status.code(), server.timeout().snapshot().timed_out), (Code::DeadlineExceeded, 1));
    let status = client.check(ask("")).await.expect_err("there is no token");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.metadata().contains_key("grpc-retry-pushback-ms"));
    assert_eq!((server.concurrency_limit().snapshot().counts.limited, health.calls()), (0, 2));

    server.drain().begin();
    let status = client.check(ask("")).await.expect_err("it drains");
    assert_eq!((status.code(), health.calls()), (Code::Unavailable, 2));
}

#[tokio::test]
async fn a_stream_holds_its_permit_until_it_ends() {
    let server = grpc::server()
        .drain(DrainConfig::new())
        .concurrency_limit(ConcurrencyLimitConfig::new(1).queue(WaitQueueConfig::none()))
        .build()
        .expect("valid");
    let mut client = HealthClient::new(channel(&serve(Scripted::default(), server.clone()).await));
    let stream = client.watch(ask("hangs")).await.expect("a stream").into_inner();
    let status = client.check(ask("")).await.expect_err("the stream has the permit");
    assert_eq!(status.code(), Code::Unavailable);
    let report = tokio::spawn({
        let drain = server.drain();
        async move { drain.drain().await }
    });
    until(|| server.drain().is_draining()).await;
    sleep(Duration::from_millis(20)).await;
    assert!(!report.is_finished(), "the stream is in flight");
    drop(stream);
    let report = report.await.expect("no panic");
    assert_eq!((report.finished, report.left), (1, 0));
    assert_eq!(server.concurrency_limit().snapshot().in_flight, 0);
}
