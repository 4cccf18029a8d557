//! A protected gRPC client and a protected server, in one program. `cargo run --example grpc_tonic --features grpc`
//!
//! The service is tonic's health service, whose client and server come generated, so that no protoc is needed.

use std::{net::SocketAddr, time::Duration};

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Server},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::ServiceBuilder;
use tower_reliability::{
    BoxError, Outcome, ReliabilityStack,
    circuit_breaker::CircuitBreakerConfig,
    grpc::{GrpcClassifier, GrpcRejectionLayer, GrpcTimeout, StreamOutcomeLayer},
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

/// Turns away what came too late, and what takes longer than its caller will wait.
async fn serve(listener: TcpListener) -> Result<(), BoxError> {
    let stack = ReliabilityStack::builder()
        .named("server")
        .timeout(Duration::from_secs(5))
        .limits(GrpcTimeout)
        .build()?;
    Server::builder()
        .layer(ServiceBuilder::new().layer(GrpcRejectionLayer).layer(stack).into_inner())
        .add_service(HealthServer::new(Moody))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}

/// Asks for each mood and prints what comes.
async fn ask(address: SocketAddr) -> Result<(), BoxError> {
    let stack = ReliabilityStack::builder()
        .named("client")
        .timeout(Duration::from_secs(1))
        .circuit_breaker(CircuitBreakerConfig::consecutive(3).open_for(Duration::from_millis(300)))
        .attempt_timeout(Duration::from_millis(200))
        .classify(GrpcClassifier::new())
        .limits(GrpcTimeout)
        .build()?;
    let streams = StreamOutcomeLayer::new(GrpcClassifier::new()).on_end(|outcome| {
        if outcome != Outcome::Success {
            println!("    a stream that began well ended in {outcome:?}");
        }
    });
    let channel = Channel::from_shared(format!("http://{address}"))?.connect_lazy();
    let layers = ServiceBuilder::new().layer(streams).layer(GrpcRejectionLayer).layer(stack);
    let mut client = HealthClient::new(layers.service(channel));

    for mood in ["well", "unknown", "hangs", "down", "down", "well", "well"] {
        match client.check(HealthCheckRequest { service: mood.to_owned() }).await {
            Ok(response) => println!("{mood}: {:?}", response.into_inner().status()),
            Err(status) => println!("{mood}: {}{}", told(&status), pushback(&status)),
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
    let millis = status.metadata().get("grpc-retry-pushback-ms").and_then(|value| value.to_str().ok());
    millis.map(|millis| format!(" (come back in {millis} ms)")).unwrap_or_default()
}

/// Does what the name in the request says.
struct Moody;

#[tonic::async_trait]
impl Health for Moody {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match request.get_ref().service.as_str() {
            "well" => Ok(Response::new(HealthCheckResponse { status: 1 })),
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
