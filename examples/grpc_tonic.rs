//! A protected gRPC client that tries again, and a protected server, in one program.
//! `cargo run --example grpc_tonic --features grpc`
//!
//! The service is tonic's health service, whose client and server come generated, so that no protoc is needed.

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
    BoxError, Outcome, ReliabilityStack,
    circuit_breaker::CircuitBreakerConfig,
    grpc::{GrpcClassifier, GrpcRejectionLayer, GrpcResend, GrpcTimeout, StreamOutcomeLayer},
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

/// Turns away what came too late, and what takes longer than its caller will wait. Were its handlers to call others
/// and try again, its answers would say so, and its callers would stand down.
async fn serve(listener: TcpListener) -> Result<(), BoxError> {
    let stack = ReliabilityStack::builder()
        .named("server")
        .timeout(Duration::from_secs(5))
        .deadlines(GrpcTimeout)
        .build()?;
    Server::builder()
        .layer(
            ServiceBuilder::new()
                .layer(ReportAttemptsLayer)
                .layer(GrpcRejectionLayer::new())
                .layer(stack)
                .into_inner(),
        )
        .add_service(HealthServer::new(Moody::default()))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}

/// Asks for each mood and prints what comes.
///
/// From the outside in: the whole call has a second, retries included; every attempt is a sample of the breaker, and
/// has 200 ms. When many of the latest attempts have failed, the retry's budget gives no more credit: "down" is not
/// asked again.
async fn ask(address: SocketAddr) -> Result<(), BoxError> {
    let call = ReliabilityStack::builder()
        .named("call")
        .timeout(Duration::from_secs(1))
        .deadlines(GrpcTimeout)
        .build()?;
    let retry = RetryConfig::exponential(Duration::from_millis(20))
        .build()?
        .classify(GrpcClassifier::new())
        // Nothing that the server may have begun is done twice, whatever its status, but for questions.
        .resend(GrpcResend::new().idempotent_if(|path: &str| path.ends_with("/Check")))
        .deadlines(GrpcTimeout);
    let retries = retry.handle();
    let attempt = ReliabilityStack::builder()
        .named("attempt")
        .circuit_breaker(CircuitBreakerConfig::consecutive(4).open_for(Duration::from_millis(300)))
        .attempt_timeout(Duration::from_millis(200))
        .classify(GrpcClassifier::new())
        .deadlines(GrpcTimeout)
        .build()?;
    let streams = StreamOutcomeLayer::new(GrpcClassifier::new()).on_end(|outcome| {
        if outcome != Outcome::Success {
            println!("    a stream that began well ended in {outcome:?}");
        }
    });
    let channel = Channel::from_shared(format!("http://{address}"))?.connect_lazy();
    let layers = ServiceBuilder::new()
        .layer(streams)
        .layer(GrpcRejectionLayer::new())
        .layer(call)
        .layer(ReplayLayer::new())
        .layer(retry)
        .layer(GrpcRejectionLayer::new())
        .layer(attempt)
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
    millis.map(|millis| format!(" (come back in {millis} ms)")).unwrap_or_default()
}

fn text(value: &AsciiMetadataValue) -> &str {
    value.to_str().unwrap_or("?")
}

/// Does what the name in the request says.
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
