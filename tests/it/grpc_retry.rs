//! Retries of real calls: generated clients outside, tonic's channel inside, servers on sockets.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use http_body_util::{BodyExt, Full};
use tonic::{Code, Request, Response, Status, body::Body, service::Routes};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_client::HealthClient, health_server::Health,
};
use tower::{ServiceBuilder, layer::layer_fn, service_fn};
use tower_reliability::{
    CallHistory, ErrorClass, Outcome,
    grpc::{GrpcClassifier, GrpcResend, StreamOutcomeLayer},
    http::{Idempotent, ReplayLayer, ReportAttemptsLayer},
    retry::RetryConfig,
};

use crate::{
    grpc_flaky::{
        AT_ONCE, Client, Flaky, Hanging, Raw, Retries, client, down, health, next, pushed, retries,
    },
    grpc_peers::{Scripted, ask, serve, serve_h2, timeout},
    peers::no_listener,
};

#[tokio::test]
async fn a_unary_call_succeeds_at_the_third_attempt_and_the_server_is_told_of_the_two_before() {
    let (server, address, _told) = Flaky::serve([down(), down()]).await;
    let retries = retries(AT_ONCE, GrpcResend::new().idempotent());
    let answer = health(&address, &retries).check(ask("")).await.expect("it recovers");
    assert_eq!(answer.into_inner().status, 1);
    let numbers = server.seen("grpc-previous-rpc-attempts");
    assert_eq!(numbers, [None, Some("1".to_owned()), Some("2".to_owned())]);
    assert_eq!(retries.handle().snapshot().counts.recovered, 1);
}

#[tokio::test]
async fn a_stream_that_fails_at_its_head_is_retried() {
    let (server, address, _told) = Flaky::serve([down()]).await;
    let retries = retries(AT_ONCE, GrpcResend::new().idempotent());
    let stream = health(&address, &retries).watch(ask("")).await.expect("it recovers");
    assert_eq!(
        stream.into_inner().message().await.expect("a message"),
        Some(HealthCheckResponse { status: 1 })
    );
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn a_pushback_delays_a_retry_and_a_negative_one_forbids_it() {
    let (server, address, _told) = Flaky::serve([pushed("120")]).await;
    let retries = retries(AT_ONCE, GrpcResend::new().idempotent());
    let began = Instant::now();
    health(&address, &retries).check(ask("")).await.expect("it recovers");
    assert!(began.elapsed() >= Duration::from_millis(120), "{:?}", began.elapsed());
    assert_eq!(server.calls(), 2);

    let (server, address, _told) = Flaky::serve([pushed("-1")]).await;
    let status = health(&address, &retries).check(ask("")).await.expect_err("it says no");
    assert_eq!((status.message(), server.calls()), ("pushed back", 1));
    assert_eq!(retries.handle().snapshot().counts.forbidden, 1);
}

#[tokio::test]
async fn a_call_that_a_server_may_have_processed_is_retried_only_if_idempotent() {
    for status in [Status::internal("a bug"), down()] {
        let calls = async |resend, idempotent: Option<bool>| {
            let (server, address, _told) = Flaky::serve([status.clone()]).await;
            let mut request = Request::new(ask(""));
            if let Some(idempotent) = idempotent {
                request.extensions_mut().insert(Idempotent(idempotent));
            }
            let answer = health(&address, &retries(AT_ONCE, resend)).check(request).await;
            (server.calls(), answer.map_err(|status| status.code()).err())
        };
        let once = (1, Some(status.code()));
        assert_eq!(calls(GrpcResend::new(), None).await, once);
        assert_eq!(calls(GrpcResend::new().idempotent(), None).await, (2, None));
        assert_eq!(calls(GrpcResend::new(), Some(true)).await, (2, None));
        assert_eq!(calls(GrpcResend::new().idempotent(), Some(false)).await, once);
    }
}

#[tokio::test]
async fn unavailable_as_unprocessed_retries_every_call() {
    let (server, address, _told) = Flaky::serve([down(), down()]).await;
    let trusting = GrpcClassifier::new().unavailable_is_unprocessed(true);
    let retries = retries(AT_ONCE, GrpcResend::new()).classify(trusting);
    health(&address, &retries).check(ask("")).await.expect("it recovers");
    assert_eq!(server.calls(), 3);
}

#[tokio::test]
async fn a_refused_stream_is_retried_and_a_reset_one_only_if_idempotent() {
    for (reason, streams) in [(h2::Reason::REFUSED_STREAM, 3), (h2::Reason::INTERNAL_ERROR, 1)] {
        let seen = Arc::new(AtomicU32::new(0));
        let counter = seen.clone();
        let address = serve_h2(move |mut respond| {
            if counter.fetch_add(1, Ordering::Relaxed) < 2 {
                return respond.send_reset(reason);
            }
            let head = http::Response::builder().header("grpc-status", "5").body(()).expect("a head");
            respond.send_response(head, true).expect("it is open");
        })
        .await;
        let answer = health(&address, &retries(AT_ONCE, GrpcResend::new())).check(ask("")).await;
        let answered = answer.expect_err("not found, at best").code() == Code::NotFound;
        assert_eq!((seen.load(Ordering::Relaxed), answered), (streams, streams == 3), "{reason:?}");
    }
    let retries = retries(AT_ONCE, GrpcResend::new());
    health(&no_listener().await, &retries).check(ask("")).await.expect_err("no server listens");
    assert_eq!(retries.handle().snapshot().counts.retries, 2);
}

#[tokio::test]
async fn a_stream_that_fails_midway_is_told_of_and_not_retried() {
    let (server, address, _told) = Flaky::serve([]).await;
    let retries = retries(AT_ONCE, GrpcResend::new().idempotent());
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = log.clone();
    let outcomes = StreamOutcomeLayer::new(GrpcClassifier::new())
        .on_end(move |outcome| writer.lock().expect("no panic").push(outcome));
    let service = client(&address, ReplayLayer::new(), retries.clone());
    let mut client = HealthClient::new(ServiceBuilder::new().layer(outcomes).service(service));
    let mut stream = client.watch(ask("breaks")).await.expect("it begins").into_inner();
    assert!(stream.message().await.expect("the first goes well").is_some());
    assert_eq!(stream.message().await.expect_err("it breaks").message(), "the disk is gone");
    assert_eq!((server.calls(), retries.handle().snapshot().counts.retries), (1, 0));
    assert_eq!(*log.lock().expect("no panic"), [Outcome::failure(ErrorClass::Server)]);
}

#[tokio::test]
async fn case_41_a_deadline_is_for_all_attempts_and_the_server_learns_the_rest() {
    let (server, address, _told) = Flaky::serve(std::iter::repeat_n(down(), 50)).await;
    let often = RetryConfig::fixed(Duration::from_millis(150)).max_attempts(50);
    let retries = retries(often, GrpcResend::new().idempotent());
    let mut request = Request::new(ask(""));
    request.set_timeout(Duration::from_secs(1));
    let began = Instant::now();
    let status = health(&address, &retries).check(request).await.expect_err("it is down");
    assert_eq!(status.message(), "later", "the last failure is the call's");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let left: Vec<_> =
        server.seen("grpc-timeout").iter().map(|value| timeout(value.as_deref().expect("one"))).collect();
    assert!((2..=7).contains(&left.len()), "{left:?}");
    assert!(left.is_sorted_by(|before, after| *after + Duration::from_millis(150) <= *before), "{left:?}");
    assert_eq!(retries.handle().snapshot().counts.out_of_time, 1);
}

#[tokio::test]
async fn a_dropped_call_is_dropped_by_the_server_in_every_attempt() {
    for failures in [vec![], vec![down()]] {
        let attempts = failures.len() + 1;
        let (server, address, mut told) = Flaky::serve(failures).await;
        let retries = retries(AT_ONCE, GrpcResend::new().idempotent());
        let mut client = health(&address, &retries);
        let call = tokio::spawn(async move { client.check(ask("hangs")).await });
        assert_eq!(next(&mut told).await, Hanging::Begun);
        call.abort();
        assert_eq!(next(&mut told).await, Hanging::Dropped);
        assert!(call.await.expect_err("it was aborted").is_cancelled());
        assert_eq!((server.calls(), retries.handle().snapshot().counts.abandoned), (attempts, 1));
    }
}

#[tokio::test]
async fn a_call_dropped_during_a_backoff_is_not_sent_again() {
    let (server, address, _told) = Flaky::serve([pushed("300")]).await;
    let retries = retries(AT_ONCE, GrpcResend::new().idempotent());
    let mut client = health(&address, &retries);
    let mut call = Box::pin(client.check(ask("")));
    while server.calls() == 0 {
        let _ = tokio::time::timeout(Duration::from_millis(20), &mut call).await;
    }
    drop(call);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((server.calls(), retries.handle().snapshot().counts.abandoned), (1, 1));
}

#[tokio::test]
async fn a_dropped_stream_is_dropped_by_the_server() {
    let (_server, address, mut told) = Flaky::serve([down()]).await;
    let mut client = health(&address, &retries(AT_ONCE, GrpcResend::new().idempotent()));
    let mut stream = client.watch(ask("")).await.expect("it recovers").into_inner();
    assert!(stream.message().await.expect("the first goes well").is_some());
    assert_eq!(next(&mut told).await, Hanging::Begun);
    drop(stream);
    assert_eq!(next(&mut told).await, Hanging::Dropped);
}

/// A server that calls the next one and retries by itself.
struct Hop {
    next: HealthClient<Client>,
}

#[tonic::async_trait]
impl Health for Hop {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let mut onward = Request::new(ask(""));
        onward.extensions_mut().insert(request.extensions().get::<CallHistory>().expect("a history").clone());
        self.next.clone().check(onward).await
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

#[tokio::test]
async fn a_caller_does_not_retry_after_the_server_has_retried() {
    let (last, address, _told) = Flaky::serve(std::iter::repeat_n(down(), 9)).await;
    let next = health(&address, &retries(AT_ONCE, GrpcResend::new().idempotent()));
    let middle = serve(Hop { next }, ReportAttemptsLayer).await;
    let retries = retries(AT_ONCE, GrpcResend::new().idempotent());
    let status = health(&middle, &retries).check(ask("")).await.expect_err("it is down");
    assert_eq!((status.message(), last.calls()), ("later", 3), "and not nine");
    assert_eq!(retries.handle().snapshot().counts.forbidden, 1);
}

/// Starts a server that reads each stream to its end, fails twice, and then succeeds; returns its address and the
/// streams.
async fn collector() -> (String, Arc<Mutex<Vec<Bytes>>>) {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let log = taken.clone();
    let take = service_fn(move |request: http::Request<Body>| {
        let log = log.clone();
        async move {
            let body = request.into_body().collect().await.expect("a whole body").to_bytes();
            let attempts = {
                let mut log = log.lock().expect("no panic");
                log.push(body);
                log.len()
            };
            if attempts < 3 {
                return Ok::<_, Infallible>(down().into_http());
            }
            let mut trailers = http::HeaderMap::new();
            Status::ok("").add_header(&mut trailers).expect("a status");
            let message = Full::new(Bytes::from_static(b"\0\0\0\0\x05taken"));
            let body = Body::new(message.with_trailers(async { Some(Ok(trailers)) }));
            let head = http::Response::builder().header("content-type", "application/grpc");
            Ok(head.body(body).expect("a head"))
        }
    });
    (serve(Scripted::default(), layer_fn(move |_: Routes| take.clone())).await, taken)
}

/// Streams ten messages of 100 bytes each, in ten frames, through a client that keeps `kept` bytes.
async fn upload(address: &str, kept: usize, retries: &Retries) -> Result<Bytes, Status> {
    let messages = stream::iter(0..10_u8).then(|number| async move {
        tokio::task::yield_now().await;
        Bytes::from(vec![number; 100])
    });
    let replay = ReplayLayer::new().max_bytes(kept);
    let mut grpc = tonic::client::Grpc::new(client(address, replay, retries.clone()));
    grpc.ready().await.expect("it is ready");
    let path = http::uri::PathAndQuery::from_static("/shop.Photos/Upload");
    grpc.client_streaming(Request::new(messages), path, Raw).await.map(Response::into_inner)
}

#[tokio::test]
async fn case_40_a_client_stream_is_sent_again_byte_by_byte_if_it_was_kept() {
    let (address, taken) = collector().await;
    let retries = retries(AT_ONCE, GrpcResend::new().idempotent());
    assert_eq!(upload(&address, 2_000, &retries).await.expect("it recovers"), "taken");
    let taken = taken.lock().expect("no panic");
    assert_eq!((taken.len(), taken[0].len()), (3, 10 * (5 + 100)));
    assert!(taken.iter().all(|body| *body == taken[0]));
}

#[tokio::test]
async fn case_40_a_client_stream_that_is_too_long_to_be_kept_is_sent_once() {
    let (address, taken) = collector().await;
    let retries = retries(AT_ONCE, GrpcResend::new().idempotent());
    let status = upload(&address, 500, &retries).await.expect_err("it is down");
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "later"));
    let taken = taken.lock().expect("no panic");
    assert_eq!((taken.len(), taken[0].len()), (1, 10 * (5 + 100)));
    assert_eq!(retries.handle().snapshot().counts.not_resendable, 1);
}

#[tokio::test]
async fn an_answer_before_the_end_of_a_stream_is_retried() {
    early_answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_is_retried_with_the_transport_on_another_thread() {
    early_answers().await;
}

async fn early_answers() {
    let calls = Arc::new(AtomicU32::new(0));
    let counter = calls.clone();
    let refuse = service_fn(move |_: http::Request<Body>| {
        counter.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, Infallible>(down().into_http::<Body>()) }
    });
    let address = serve(Scripted::default(), layer_fn(move |_: Routes| refuse.clone())).await;
    let retries = retries(AT_ONCE, GrpcResend::new().idempotent());
    for done in 1..=20 {
        let messages = stream::iter([Bytes::from_static(b"a message")]).chain(stream::pending());
        let mut grpc = tonic::client::Grpc::new(client(&address, ReplayLayer::new(), retries.clone()));
        grpc.ready().await.expect("it is ready");
        let path = http::uri::PathAndQuery::from_static("/shop.Photos/Upload");
        let answer = grpc.client_streaming(Request::new(messages), path, Raw);
        let answer = tokio::time::timeout(Duration::from_secs(10), answer).await.expect("it ends");
        assert_eq!(answer.expect_err("it is down").message(), "later");
        let counts = retries.handle().snapshot().counts;
        assert_eq!((calls.load(Ordering::Relaxed), counts.exhausted), (3 * done, u64::from(done)));
    }
}
