//! Servers of tonic with layers around all their services.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::Pending;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tonic::{Code, Request, Response, Status, body::Body};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_client::HealthClient, health_server::Health,
};
use tower::{ServiceBuilder, layer::util::Identity, util::BoxCloneSyncService};
use tower_reliability::{
    Deadline, Error, Name, Reason, Rejected, ReliabilityStack,
    circuit_breaker::CircuitBreakerConfig,
    grpc::{GrpcClassifier, GrpcRejectionLayer, GrpcTimeout},
    timeout::TimeoutConfig,
};

use crate::grpc_peers::{Scripted, ask, channel, serve, timeout};

/// A limit of so many seconds with rejections as answers. A macro: the error type of the inner service differs.
macro_rules! limited {
    ($seconds:literal) => {{
        let limit = TimeoutConfig::new(Duration::from_secs($seconds)).build().expect("in range");
        let layers =
            ServiceBuilder::new().layer(GrpcRejectionLayer::new()).layer(limit.deadlines(GrpcTimeout));
        layers.map_err(Error::inner)
    }};
}

/// A message for the health service that asks for this name.
fn message(service: &str) -> Vec<u8> {
    let length = u8::try_from(service.len()).expect("a short name");
    [&[0, 0, 0, 0, length + 2, 0x0a, length], service.as_bytes()].concat()
}

/// Sends a call with this `grpc-timeout` without tonic: its client would end the call by its own timer.
async fn raw(address: &str, timeout: &str, service: &str) -> http::Response<Bytes> {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("it speaks HTTP/2");
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .body(Full::new(Bytes::from(message(service))))
        .expect("a request");
    let (parts, body) = sender.send_request(request).await.expect("an answer").into_parts();
    http::Response::from_parts(parts, body.collect().await.expect("a body").to_bytes())
}

#[tokio::test]
async fn a_request_that_has_expired_does_not_reach_the_handler() {
    let server = Scripted::default();
    let limit = TimeoutConfig::new(Duration::from_secs(5)).build().expect("in range").deadlines(GrpcTimeout);
    let counts = limit.handle();
    let layers = ServiceBuilder::new().layer(GrpcRejectionLayer::new()).layer(limit).map_err(Error::inner);
    let address = serve(server.clone(), layers.into_inner()).await;
    assert!(!raw(&address, "1S", "").await.headers().contains_key("grpc-status"));
    assert!(!raw(&address, "garbage", "").await.headers().contains_key("grpc-status"));
    assert_eq!(server.calls(), 2);

    let answer = raw(&address, "0n", "").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["grpc-status"]),
        (200, &"4".parse().expect("ascii"))
    );
    assert_eq!(answer.headers()["content-type"], "application/grpc");
    assert_eq!((server.calls(), counts.snapshot().deadline_exceeded), (2, 1));

    // The timer of tonic's server would answer CANCELLED.
    for _ in 0..10 {
        assert_eq!(raw(&address, "30m", "hangs").await.headers()["grpc-status"], "4");
    }
}

#[tokio::test]
async fn a_handler_that_hangs_is_deadline_exceeded_and_an_open_circuit_unavailable() {
    let stack = ReliabilityStack::builder()
        .timeout(Duration::from_millis(50))
        .circuit_breaker(CircuitBreakerConfig::consecutive(2))
        .classify(GrpcClassifier::new())
        .deadlines(GrpcTimeout)
        .build()
        .expect("in range");
    let layers = ServiceBuilder::new().layer(GrpcRejectionLayer::new()).layer(stack).into_inner();
    let server = Scripted::default();
    let address = serve(server.clone(), layers).await;
    let mut client = HealthClient::new(channel(&address));
    let status = client.check(ask("hangs")).await.expect_err("it hangs");
    assert_eq!((status.code(), status.message()), (Code::DeadlineExceeded, "deadline exceeded"));
    client.check(ask("unavailable")).await.expect_err("it is down");
    let status = client.check(ask("")).await.expect_err("the circuit is open");
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "temporarily unavailable"));
    assert!(status.metadata().contains_key("grpc-retry-pushback-ms"));
    assert_eq!(server.calls(), 2);
}

type Next =
    HealthClient<BoxCloneSyncService<http::Request<Body>, http::Response<Body>, tonic::transport::Error>>;

/// A handler whose call of a backend is rejected, and that returns the rejection with `?`.
struct Rejecting;

#[tonic::async_trait]
impl Health for Rejecting {
    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let rejected = Rejected::new(Name::new("db-7.internal:5432"), Reason::ProbesTaken);
        Err(rejected.after(Duration::from_secs(2)))?
    }

    type WatchStream = Pending<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

#[tokio::test]
async fn case_74_a_handler_that_returns_a_rejection_discloses_no_name() {
    let address = serve(Rejecting, Identity::new()).await;
    let status = HealthClient::new(channel(&address)).check(ask("")).await.expect_err("it is rejected");
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "temporarily unavailable"));
    assert!(!format!("{:?}", status.metadata()).contains("db-7"), "{status:?}");
    assert!(status.metadata().contains_key("grpc-retry-pushback-ms"));
}

/// A server that calls the next one and hands on its caller's deadline.
struct Hop {
    next: Next,
}

#[tonic::async_trait]
impl Health for Hop {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let own = request.metadata().get("grpc-timeout").cloned().expect("a timeout");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut onward = Request::new(ask(""));
        onward.extensions_mut().insert(*request.extensions().get::<Deadline>().expect("a deadline"));
        let mut response = self.next.clone().check(onward).await?;
        response.metadata_mut().insert("own-timeout", own);
        Ok(response)
    }

    type WatchStream = Pending<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

#[tokio::test]
async fn case_41_a_deadline_shrinks_from_hop_to_hop() {
    let last = serve(Scripted::default(), Identity::new()).await;
    let next = HealthClient::new(BoxCloneSyncService::new(limited!(9).service(channel(&last))));
    let middle = serve(Hop { next }, limited!(9).into_inner()).await;
    let mut client = HealthClient::new(limited!(3).service(channel(&middle)));
    let response = client.check(ask("")).await.expect("there is time");
    let read = |name| timeout(response.metadata().get(name).expect("a header").to_str().expect("ascii"));
    let (first, second) = (read("own-timeout"), read("seen-timeout"));
    assert!(first <= Duration::from_secs(3), "{first:?}");
    assert!(second + Duration::from_millis(20) <= first, "{second:?} after {first:?}");
    assert!(second > Duration::from_secs(2), "{second:?}");
}
