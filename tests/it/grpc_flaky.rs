//! A gRPC server that fails at first, and clients with a retry.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes};
use futures::{StreamExt, stream, stream::BoxStream};
use tokio::sync::mpsc;
use tonic::{
    Code, Request, Response, Status,
    body::Body,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{MetadataMap, MetadataValue},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_client::HealthClient, health_server::Health,
};
use tower::{ServiceBuilder, layer::util::Identity, util::BoxCloneSyncService};
use tower_reliability::{
    Protocol, Resend,
    grpc::{GrpcClassifier, GrpcResend, GrpcTimeout},
    http::{ReplayBody, ReplayLayer},
    retry::{Jitter, RetryConfig, RetryLayer},
    retry_budget::RetryBudget,
};

use crate::grpc_peers::{channel, serve};

pub(crate) const AT_ONCE: RetryConfig = RetryConfig::fixed(Duration::ZERO);

pub(crate) type Client =
    BoxCloneSyncService<http::Request<Body>, http::Response<Body>, tonic::transport::Error>;
pub(crate) type Retries<R = GrpcResend> = RetryLayer<Protocol<GrpcClassifier, R, GrpcTimeout>>;

pub(crate) fn retries<R>(config: RetryConfig, resend: R) -> Retries<R> {
    let layer = config.jitter(Jitter::None).build().expect("in range").budget(RetryBudget::unlimited());
    layer.classify(GrpcClassifier::new()).resend(resend).deadlines(GrpcTimeout)
}

/// The layers of a client, for any generated code of tonic.
pub(crate) fn client<R>(address: &str, replay: ReplayLayer, retries: Retries<R>) -> Client
where
    R: Resend<http::Request<ReplayBody<Body>>> + Clone + Send + Sync + 'static,
{
    let layers = ServiceBuilder::new().layer(replay).layer(retries);
    let boxed = |request: http::Request<ReplayBody<Body>>| request.map(Body::new);
    BoxCloneSyncService::new(layers.map_request(boxed).service(channel(address)))
}

/// A client of the health service.
pub(crate) fn health<R>(address: &str, retries: &Retries<R>) -> HealthClient<Client>
where
    R: Resend<http::Request<ReplayBody<Body>>> + Clone + Send + Sync + 'static,
{
    HealthClient::new(client(address, ReplayLayer::new(), retries.clone()))
}

/// Fails with each status in turn, and then answers as the name in the request says.
#[derive(Clone)]
pub(crate) struct Flaky {
    failures: Arc<Mutex<VecDeque<Status>>>,
    seen: Arc<Mutex<Vec<MetadataMap>>>,
    hanging: mpsc::UnboundedSender<Hanging>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Hanging {
    Begun,
    Dropped,
}

/// Lives in a handler or in a stream while the server works on it.
struct Guard(mpsc::UnboundedSender<Hanging>);

impl Guard {
    fn new(hanging: &mpsc::UnboundedSender<Hanging>) -> Self {
        let _ = hanging.send(Hanging::Begun);
        Self(hanging.clone())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send(Hanging::Dropped);
    }
}

impl Flaky {
    /// The server, its address, and the events of handlers that hang.
    pub(crate) async fn serve(
        failures: impl IntoIterator<Item = Status>,
    ) -> (Self, String, mpsc::UnboundedReceiver<Hanging>) {
        let (hanging, told) = mpsc::unbounded_channel();
        let failures = Arc::new(Mutex::new(failures.into_iter().collect()));
        let flaky = Self { failures, seen: Arc::default(), hanging };
        let address = serve(flaky.clone(), Identity::new()).await;
        (flaky, address, told)
    }

    fn begin(&self, request: &Request<HealthCheckRequest>) -> Result<(), Status> {
        self.seen.lock().expect("no panic").push(request.metadata().clone());
        self.failures.lock().expect("no panic").pop_front().map_or(Ok(()), Err)
    }

    /// The value of this header in each attempt.
    pub(crate) fn seen(&self, header: &str) -> Vec<Option<String>> {
        let seen = self.seen.lock().expect("no panic");
        let text = |value: &MetadataValue<_>| value.to_str().expect("ascii").to_owned();
        seen.iter().map(|metadata| metadata.get(header).map(text)).collect()
    }

    pub(crate) fn calls(&self) -> usize {
        self.seen.lock().expect("no panic").len()
    }
}

#[tonic::async_trait]
impl Health for Flaky {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.begin(&request)?;
        if request.get_ref().service == "hangs" {
            let _guard = Guard::new(&self.hanging);
            pending::<()>().await;
        }
        Ok(Response::new(HealthCheckResponse { status: 1 }))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.begin(&request)?;
        let one = stream::iter([Ok(HealthCheckResponse { status: 1 })]);
        Ok(Response::new(if request.get_ref().service == "breaks" {
            one.chain(stream::iter([Err(Status::unavailable("the disk is gone"))])).boxed()
        } else {
            let guard = Guard::new(&self.hanging);
            let rest = stream::once(async move {
                pending::<()>().await;
                drop(guard);
                Ok(HealthCheckResponse { status: 1 })
            });
            one.chain(rest).boxed()
        }))
    }
}

pub(crate) fn down() -> Status {
    Status::unavailable("later")
}

pub(crate) fn pushed(value: &'static str) -> Status {
    let mut pushback = MetadataMap::new();
    pushback.insert("grpc-retry-pushback-ms", MetadataValue::from_static(value));
    Status::with_metadata(Code::Unavailable, "pushed back", pushback)
}

/// The next event of a hanging handler. Only a failing test waits this long.
pub(crate) async fn next(told: &mut mpsc::UnboundedReceiver<Hanging>) -> Hanging {
    let patience = Duration::from_secs(10);
    tokio::time::timeout(patience, told.recv()).await.expect("it is told").expect("the server lives")
}

/// Messages that are bytes, for calls of any shape without protoc.
#[derive(Default)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
