//! The server stack around a server of tonic, over real sockets.

use std::time::Duration;

use http::HeaderName;
use tokio::time::{sleep, timeout};
use tonic::{Code, Request};
use tonic_health::pb::health_client::HealthClient;
use tower_reliability::{
    Priority, PrioritySource, concurrency_limit::ConcurrencyLimitConfig, drain::DrainConfig, grpc,
    http::PriorityHeader, rate_limit::RateLimitConfig, wait_queue::WaitQueueConfig,
};

use crate::grpc_peers::{Scripted, ask, channel, serve};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Waits until the condition holds.
async fn until(holds: impl Fn() -> bool) {
    timeout(Duration::from_secs(10), async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("it holds in time");
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

#[tokio::test]
async fn case_74_a_panic_of_a_handler_is_internal_and_returns_every_place() {
    let server = grpc::server()
        .drain(DrainConfig::new())
        .concurrency_limit(ConcurrencyLimitConfig::new(1).queue(WaitQueueConfig::none()))
        .timeout(Duration::from_secs(5))
        .named("shop")
        .build()
        .expect("valid");
    let mut client = HealthClient::new(channel(&serve(Scripted::default(), server.clone()).await));
    for panicked in 1..=3 {
        let status = client.check(ask("panics")).await.expect_err("it panics");
        assert_eq!((status.code(), status.message()), (Code::Internal, "internal error"));
        let headers = format!("{:?}", status.metadata());
        assert!(!headers.contains("secret") && !headers.contains("shop"), "{headers}");
        // The only permit is back, and the connection goes on.
        client.check(ask("")).await.expect("an answer");
        assert_eq!(server.panic_guard().snapshot().panicked, panicked);
    }
    until(|| server.drain().snapshot().in_flight == 0).await;
}

/// The classes that three waiting calls get from `source`: a call without metadata, one that asks to be critical, and one
/// that asks to be low.
async fn classes(
    source: impl PrioritySource<http::Request<tonic::body::Body>> + Clone + Send + Sync + 'static,
) -> [u32; 4] {
    let queue = WaitQueueConfig::new().max_wait(Duration::from_secs(20)).without_shedding();
    let server = grpc::server()
        .priority(source)
        .concurrency_limit(ConcurrencyLimitConfig::new(1).queue(queue))
        .build()
        .expect("valid");
    let client = HealthClient::new(channel(&serve(Scripted::default(), server.clone()).await));
    let holder = client.clone().watch(ask("hangs")).await.expect("a stream");
    let calls = [None, Some("critical"), Some("low")].map(|word| {
        let (mut client, mut request) = (client.clone(), Request::new(ask("")));
        if let Some(word) = word {
            request.metadata_mut().insert("x-priority", word.parse().expect("ASCII"));
        }
        tokio::spawn(async move { client.check(request).await })
    });
    let limit = server.concurrency_limit();
    until(|| limit.snapshot().waiting == 3).await;
    let classes = limit.snapshot().waiting_by_class.map(|(_, waiting)| waiting);
    drop(holder);
    for call in calls {
        call.await.expect("no panic").expect("it is served");
    }
    classes
}

#[tokio::test]
async fn metadata_of_untrusted_clients_lower_a_call_and_do_not_raise_it() {
    assert_eq!(Priority::ALL, [Priority::Critical, Priority::High, Priority::Normal, Priority::Low]);
    let words = PriorityHeader::words(HeaderName::from_static("x-priority"));
    assert_eq!(classes(words.clone()).await, [0, 0, 2, 1]);
    assert_eq!(classes(words.trusted()).await, [1, 0, 1, 1]);
}
