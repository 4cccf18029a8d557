//! A breaker that counts calls by their trailers: generated clients of tonic over real sockets.

use std::time::Duration;

use futures::FutureExt;
use tonic::transport::Channel;
use tonic_health::pb::health_client::HealthClient;
use tower::{ServiceBuilder, layer::util::Identity, util::BoxCloneSyncService};
use tower_reliability::{
    CircuitState, ErrorClass, Outcome,
    circuit_breaker::{CircuitBreakerConfig, CircuitBreakerHandle},
    grpc::{self, GrpcClassifier, GrpcRejectionLayer, StreamOutcomeLayer},
};

use crate::grpc_peers::{Scripted, ask, channel, serve};

type Client = HealthClient<
    BoxCloneSyncService<
        http::Request<tonic::body::Body>,
        http::Response<tonic::body::Body>,
        tonic::transport::Error,
    >,
>;

const CONFIG: CircuitBreakerConfig = CircuitBreakerConfig::consecutive(2)
    .open_jitter(0.0)
    .open_for(Duration::from_millis(1))
    .half_open_probes(1)
    .half_open_successes(1);

/// A client of a new server, and the breaker between the two.
async fn client(config: CircuitBreakerConfig, streams: StreamOutcomeLayer) -> (Client, CircuitBreakerHandle) {
    let address = serve(Scripted::default(), Identity::new()).await;
    let stack = grpc::stack()
        .circuit_breaker(config)
        .classify(GrpcClassifier::new().deferred())
        .build()
        .expect("in range");
    let handle = stack.circuit_breaker();
    let layers = ServiceBuilder::new()
        .map_response(|response: http::Response<_>| response.map(tonic::body::Body::new))
        .layer(GrpcRejectionLayer::new())
        .layer(streams)
        .layer(&stack);
    (HealthClient::new(BoxCloneSyncService::new(layers.service::<Channel>(channel(&address)))), handle)
}

const STREAMS: StreamOutcomeLayer = StreamOutcomeLayer::new(GrpcClassifier::new());

/// Waits for a millisecond of real time: the server is real.
async fn half_open(client: &mut Client, handle: &CircuitBreakerHandle) {
    for _ in 0..2 {
        client.check(ask("unavailable")).await.expect_err("it is down");
    }
    while handle.state() != CircuitState::HalfOpen {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn case_26_streams_that_fail_in_their_trailers_open_the_circuit() {
    let (mut client, handle) = client(CONFIG.open_for(Duration::from_secs(60)), STREAMS).await;
    for failures in 0..2 {
        let mut stream = client.watch(ask("breaks")).await.expect("a head").into_inner();
        stream.message().await.expect("the first message").expect("there is one");
        assert_eq!((handle.state(), handle.snapshot().counts.failures), (CircuitState::Closed, failures));
        stream.message().await.expect("the second message").expect("there is one");
        stream.message().await.expect_err("the disk is gone");
    }
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.state, snapshot.counts.failures), (CircuitState::Open, 2));
    assert_eq!((snapshot.counts.successes, snapshot.counts.abandoned), (0, 0));
}

#[tokio::test]
async fn case_20_a_probe_counts_by_the_head_of_its_stream() {
    let (mut client, handle) = client(CONFIG, STREAMS).await;
    half_open(&mut client, &handle).await;
    let mut stream = client.watch(ask("hangs")).await.expect("a head").into_inner();
    stream.message().await.expect("the first message").expect("there is one");
    assert_eq!(handle.state(), CircuitState::Closed, "or the circuit would stay half-open during the stream");
    assert_eq!(handle.snapshot().counts.successes, 1);
    drop(stream);
    assert_eq!(handle.snapshot().counts.abandoned, 0, "the head has counted");
}

#[tokio::test]
async fn case_07_a_stream_dropped_midway_has_no_vote_by_default() {
    let dropped = async |streams| {
        let (mut client, handle) = client(CONFIG.open_for(Duration::from_secs(60)), streams).await;
        for _ in 0..2 {
            let mut stream = client.watch(ask("hangs")).await.expect("a head").into_inner();
            stream.message().await.expect("the first message").expect("there is one");
            assert!(stream.message().now_or_never().is_none_or(|message| message.is_ok()));
        }
        let snapshot = handle.snapshot();
        (snapshot.state, snapshot.counts.successes, snapshot.counts.failures)
    };
    assert_eq!(dropped(STREAMS).await, (CircuitState::Closed, 0, 0));
    let failure = STREAMS.abandoned(Outcome::failure(ErrorClass::Timeout));
    assert_eq!(dropped(failure).await, (CircuitState::Open, 0, 2));
}

#[tokio::test]
async fn a_unary_call_counts_once_by_its_head_or_by_its_trailers() {
    let (mut client, handle) = client(CONFIG, STREAMS).await;
    client.check(ask("")).await.expect("a head");
    client.check(ask("missing")).await.expect_err("the status is in the head");
    client.check(ask("unavailable")).await.expect_err("the status is in the head");
    let counts = handle.snapshot().counts;
    assert_eq!((counts.successes, counts.failures), (2, 1));
    assert_eq!((counts.ignored, counts.abandoned, counts.rejected), (0, 0, 0));
}
