//! A scripted gRPC server and generated clients of tonic, over real sockets.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream, stream::BoxStream};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    body::Body,
    metadata::{MetadataMap, MetadataValue},
    transport::{Channel, Server},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_server::{Health, HealthServer},
};
use tower::{Layer, Service};

use crate::peers::listen;

/// A health service that answers as the name in the request says, and counts the calls that reach it.
#[derive(Clone, Default)]
pub(crate) struct Scripted {
    pub(crate) calls: Arc<AtomicU32>,
}

impl Scripted {
    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }
}

#[tonic::async_trait]
impl Health for Scripted {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match request.get_ref().service.as_str() {
            "" => {}
            "unavailable" => return Err(Status::unavailable("later")),
            "missing" => return Err(Status::not_found("no such thing")),
            "pushback" => {
                let mut no = MetadataMap::new();
                no.insert("grpc-retry-pushback-ms", MetadataValue::from_static("1500"));
                return Err(Status::with_metadata(tonic::Code::ResourceExhausted, "busy", no));
            }
            "hangs" => pending().await,
            "panics" => panic!("secret: a defect"),
            other => return Err(Status::invalid_argument(other)),
        }
        let mut response = Response::new(HealthCheckResponse::default());
        if let Some(timeout) = request.metadata().get("grpc-timeout") {
            response.metadata_mut().insert("seen-timeout", timeout.clone());
        }
        Ok(response)
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let two = stream::iter([Ok(HealthCheckResponse::default()), Ok(HealthCheckResponse::default())]);
        Ok(Response::new(match request.get_ref().service.as_str() {
            "" => two.boxed(),
            "breaks" => two.chain(stream::iter([Err(Status::data_loss("the disk is gone"))])).boxed(),
            "hangs" => two.chain(stream::pending()).boxed(),
            other => return Err(Status::unavailable(other)),
        }))
    }
}

/// Starts a server of tonic on a free port with all services inside `layer`; returns its address.
pub(crate) async fn serve<H, L, ResBody>(health: H, layer: L) -> String
where
    H: Health,
    L: Layer<tonic::service::Routes> + Clone + Send + 'static,
    L::Service: Service<http::Request<Body>, Response = http::Response<ResBody>> + Clone + Send + 'static,
    <L::Service as Service<http::Request<Body>>>::Future: Send,
    <L::Service as Service<http::Request<Body>>>::Error:
        Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    ResBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    ResBody::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (listener, address) = listen().await;
    let router = Server::builder().layer(layer).add_service(HealthServer::new(health));
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

/// Starts a server that passes each stream to `answer`; returns its address.
pub(crate) async fn serve_h2(
    answer: impl Fn(h2::server::SendResponse<bytes::Bytes>) + Send + 'static,
) -> String {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut connection = h2::server::handshake(stream).await.expect("it speaks HTTP/2");
            while let Some(Ok((_, respond))) = connection.accept().await {
                answer(respond);
            }
        }
    });
    address
}

/// A channel that connects on first use.
pub(crate) fn channel(address: &str) -> Channel {
    Channel::from_shared(format!("http://{address}")).expect("a URI").connect_lazy()
}

pub(crate) fn ask(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

/// Reads a `grpc-timeout` without the library.
pub(crate) fn timeout(value: &str) -> Duration {
    let (digits, unit) = value.split_at(value.len() - 1);
    let amount: u64 = digits.parse().expect("digits");
    match unit {
        "n" => Duration::from_nanos(amount),
        "u" => Duration::from_micros(amount),
        "m" => Duration::from_millis(amount),
        "S" => Duration::from_secs(amount),
        other => panic!("unit {other}"),
    }
}
