//! A gRPC client with retries and a breaker, and a server with a timeout, in one program.
//! `cargo run --example grpc_tonic --features grpc`
//!
//! The service is tonic's health service: its client and server come generated, so the example needs no protoc.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    body::Body,
    metadata::AsciiMetadataValue,
    transport::{Channel, Server},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::ServiceBuilder;
use tower_reliability::{
    BoxError, Outcome,
    circuit_breaker::CircuitBreakerConfig,
    grpc::{self, GrpcClassifier, GrpcRejectionLayer, GrpcResend, StreamOutcomeLayer},
    http::{ReplayBody, ReplayLayer, ReportAttemptsLayer},
    retry::RetryConfig,
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::select! {
        result = serve(listener) => result,
        result = ask(address) => result,
    }
}

/// Rejects requests that have expired, and ends calls at their deadline or after five seconds. If a handler retried
/// calls of its own, `ReportAttemptsLayer` would tell the callers, and they would not retry on top.
async fn serve(listener: TcpListener) -> Result<(), BoxError> {
    let stack = grpc::stack().named("server").timeout(Duration::from_secs(5)).build()?;
    let layers =
        ServiceBuilder::new().layer(ReportAttemptsLayer).layer(GrpcRejectionLayer::new()).layer(stack);
    Server::builder()
        .layer(layers.into_inner())
        .add_service(HealthServer::new(Moody::default()))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}

/// Calls the server in each mood and prints the answers.
///
/// The whole call has a second, all retries included. The breaker counts every attempt, and each attempt has 200 ms.
/// When many of the latest attempts have failed, the budget refuses retries: the mood "down" gets none.
async fn ask(address: SocketAddr) -> Result<(), BoxError> {
    let stack = grpc::stack()
        .named("client")
        .timeout(Duration::from_secs(1))
        .retry(RetryConfig::exponential(Duration::from_millis(20)))
        // A retry resends only these calls after a failure: the server may have processed any other call.
        .resend(GrpcResend::new().idempotent_if(|path: &str| path.ends_with("/Check")))
        .circuit_breaker(CircuitBreakerConfig::consecutive(4).open_for(Duration::from_millis(300)))
        .attempt_timeout(Duration::from_millis(200))
        .build()?;
    let retries = stack.retry();
    let streams = StreamOutcomeLayer::new(GrpcClassifier::new()).on_end(|outcome| {
        if outcome != Outcome::Success {
            println!("    a stream with a good head ended in {outcome:?}");
        }
    });
    let channel = Channel::from_shared(format!("http://{address}"))?.connect_lazy();
    let layers = ServiceBuilder::new()
        .layer(streams)
        .layer(GrpcRejectionLayer::new().detailed())
        .layer(ReplayLayer::new())
        .layer(stack)
        .map_request(|request: http::Request<ReplayBody<Body>>| request.map(Body::new));
    let mut client = HealthClient::new(layers.service(channel));

    for mood in ["well", "unknown", "flaky", "hangs", "down", "well"] {
        let before = retries.snapshot().counts.retries;
        let answer = client.check(HealthCheckRequest { service: mood.to_owned() }).await;
        let again = retries.snapshot().counts.retries - before;
        match answer {
            Ok(response) => println!("{mood}: {:?}, {again} retries", response.into_inner().status()),
            Err(status) => println!("{mood}: {}{}, {again} retries", told(&status), pushback(&status)),
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut stream = client.watch(HealthCheckRequest { service: "well".to_owned() }).await?.into_inner();
    while let Some(health) = stream.message().await.unwrap_or_else(|status| {
        println!("stream: {}", told(&status));
        None
    }) {
        println!("stream: {:?}", health.status());
    }
    Ok(())
}

fn told(status: &Status) -> String {
    format!("{:?}, {}", status.code(), status.message())
}

fn pushback(status: &Status) -> String {
    let millis = status.metadata().get("grpc-retry-pushback-ms").map(text);
    millis.map(|millis| format!(" (again in {millis} ms)")).unwrap_or_default()
}

fn text(value: &AsciiMetadataValue) -> &str {
    value.to_str().unwrap_or("?")
}

/// Answers as the name in the request says.
#[derive(Default)]
struct Moody {
    flaky: AtomicU32,
}

#[tonic::async_trait]
impl Health for Moody {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match request.get_ref().service.as_str() {
            "flaky" if self.flaky.fetch_add(1, Ordering::Relaxed) < 2 => {
                let number = request.metadata().get("grpc-previous-rpc-attempts");
                println!("    the server fails, attempts before: {}", number.map_or("none", text));
                Err(Status::unavailable("starting"))
            }
            "well" | "flaky" => Ok(Response::new(HealthCheckResponse { status: 1 })),
            "hangs" => std::future::pending().await,
            "down" => Err(Status::unavailable("no database")),
            _ => Err(Status::not_found("no such service")),
        }
    }

    type WatchStream = tokio_stream::Iter<std::vec::IntoIter<Result<HealthCheckResponse, Status>>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let well = || Ok(HealthCheckResponse { status: 1 });
        Ok(Response::new(tokio_stream::iter(vec![well(), well(), Err(Status::data_loss("disk full"))])))
    }
}
