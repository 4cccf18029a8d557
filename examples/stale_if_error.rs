//! Serves stale prices while a shop is down. `cargo run --example stale_if_error`
//!
//! The shop answers, then fails, then falls silent. The client gets the last good answer until it is too old.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::get};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{net::TcpListener, time};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_reliability::{
    BoxError, Error, ErrorClass, fallback::FallbackConfig, http::HttpClassifier, timeout::TimeoutConfig,
};

/// The fallback answers rejections too, here the rejections of the timeout.
const STALE_IF_ERROR: FallbackConfig = FallbackConfig::new()
    .on(ErrorClass::Server)
    .on(ErrorClass::Connection)
    .max_entries(100)
    .ttl(Duration::from_millis(500));

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::select! {
        result = shop(listener) => result?,
        result = lookups(address) => result?,
    }
    Ok(())
}

async fn lookups(address: SocketAddr) -> Result<(), BoxError> {
    let fallback = STALE_IF_ERROR
        .build()?
        .last_good(|request: &Request<Empty<Bytes>>| Some(request.uri().clone()))
        .classify(HttpClassifier::new());
    let handle = fallback.handle();
    let connections = Client::builder(TokioExecutor::new()).build_http();
    let mut prices = ServiceBuilder::new()
        .layer(fallback)
        .layer(TimeoutConfig::new(Duration::from_millis(100)).build()?)
        .map_err(Error::inner)
        .service(service_fn(move |request| whole(connections.clone(), request)));

    for n in 1..=6 {
        let request = Request::get(format!("http://{address}/tea")).body(Empty::new())?;
        let answered = handle.snapshot().answered();
        match prices.ready().await?.call(request).await {
            Ok(response) => {
                let is_stale = handle.snapshot().answered() > answered;
                let origin = if is_stale { "stale" } else { "fresh" };
                let body = response.into_body().collect().await?.to_bytes();
                println!("{n}: {} ({origin})", String::from_utf8_lossy(&body));
            }
            Err(error) => println!("{n}: {}", error.report()),
        }
        time::sleep(Duration::from_millis(100)).await;
    }
    println!("{:?}", handle.snapshot());
    Ok(())
}

/// Collects the body of a response, so that the fallback can remember a clone of it.
async fn whole(
    client: Client<HttpConnector, Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = client.request(request).await.map_err(io::Error::other)?.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    Ok(Response::from_parts(head, Full::new(body)))
}

/// Answers two requests with a price, fails two, and answers no more.
async fn shop(listener: TcpListener) -> io::Result<()> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let app = Router::new().route(
        "/tea",
        get(|| async {
            match ASKED.fetch_add(1, Ordering::Relaxed) {
                n @ 0..2 => (StatusCode::OK, format!("tea is {}", 250 + n)),
                2..4 => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
                _ => std::future::pending().await,
            }
        }),
    );
    axum::serve(listener, app).await
}
