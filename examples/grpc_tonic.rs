//! Clients and servers of tonic, with a deadline that shrinks from hop to hop.
//! `cargo run --example grpc_tonic --features grpc`
//!
//! The caller asks the front server, and the front server asks the back server. Each hop spends some of the caller's
//! time, and the back server gets what is left. The service is tonic's health service: its client and server come
//! generated, so the example needs no protoc.

use std::{
    error::Error,
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::{net::TcpListener, time};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    metadata::MetadataMap,
    transport::{Channel, Server},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower_reliability::{
    BoxError, Deadline, Rejected,
    circuit_breaker::CircuitBreakerConfig,
    grpc::{self, GrpcChannel, GrpcRejectionLayer, GrpcResend},
    http::ReportAttemptsLayer,
    retry::RetryConfig,
};

/// A client of a health server. Clones share the circuit, the retry budget and the connections.
type Client = HealthClient<GrpcChannel>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (back, front) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
    let next = client("front", back.local_addr()?)?;
    let front_address = front.local_addr()?;
    tokio::select! {
        result = serve("back", back, Moody::default()) => result,
        result = serve("front", front, Front { next }) => result,
        result = ask(client("caller", front_address)?) => result,
    }
}

/// The whole call has a second, all retries included, or the rest of the time of the caller.
fn client(name: &'static str, address: SocketAddr) -> Result<Client, BoxError> {
    let stack = grpc::stack()
        .named(name)
        .timeout(Duration::from_secs(1))
        .retry(RetryConfig::exponential(Duration::from_millis(20)))
        // Any other call is resent only if no server has processed it.
        .resend(GrpcResend::new().idempotent_if(|path: &str| path.ends_with("/Check")))
        .circuit_breaker(CircuitBreakerConfig::consecutive(4).open_for(Duration::from_millis(300)))
        .build()?;
    let channel = Channel::from_shared(format!("http://{address}"))?.connect_lazy();
    Ok(HealthClient::new(stack.channel(channel)))
}

/// Rejects requests that have expired, and ends calls at their deadline or after five seconds.
///
/// `ReportAttemptsLayer` tells callers about retries on this side, so that they do not retry on top.
async fn serve(name: &'static str, listener: TcpListener, health: impl Health) -> Result<(), BoxError> {
    let stack = grpc::stack().named(name).timeout(Duration::from_secs(5)).build()?;
    Server::builder()
        .layer((ReportAttemptsLayer, GrpcRejectionLayer::new(), stack))
        .add_service(HealthServer::new(health))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}

async fn ask(mut client: Client) -> Result<(), BoxError> {
    for mood in ["well", "flaky", "hangs", "down", "down", "well"] {
        println!("{mood}");
        match client.check(HealthCheckRequest { service: mood.to_owned() }).await {
            Ok(response) => println!("    {:?}", response.into_inner().status()),
            Err(status) => println!("    {:?}: {}", status.code(), reason(&status)),
        }
    }
    Ok(())
}

/// A rejection on this side is the source of its status.
fn reason(status: &Status) -> String {
    let rejected = status.source().and_then(|source| source.downcast_ref::<Rejected>());
    rejected.map_or_else(|| status.message().to_owned(), |rejected| format!("rejected by {rejected}"))
}

/// Works for 100 ms, and then asks the next server with the rest of the time.
struct Front {
    next: Client,
}

#[tonic::async_trait]
impl Health for Front {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        print_time("front", &request);
        time::sleep(Duration::from_millis(100)).await;
        // The deadline and the history of the call travel in the extensions.
        let (_, extensions, message) = request.into_parts();
        self.next.clone().check(Request::from_parts(MetadataMap::new(), extensions, message)).await
    }

    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not in this example"))
    }
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
        print_time("back", &request);
        match request.get_ref().service.as_str() {
            "flaky" if self.flaky.fetch_add(1, Ordering::Relaxed) < 2 => Err(Status::unavailable("starting")),
            "well" | "flaky" => Ok(Response::new(HealthCheckResponse { status: 1 })),
            "hangs" => std::future::pending().await,
            _ => Err(Status::unavailable("no database")),
        }
    }

    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not in this example"))
    }
}

fn print_time(server: &str, request: &Request<HealthCheckRequest>) {
    let left = request.extensions().get().map(|deadline: &Deadline| deadline.remaining());
    let before = request.metadata().get("grpc-previous-rpc-attempts");
    println!("    {server}: {left:.0?} left, attempts before: {before:?}");
}
