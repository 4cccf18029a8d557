//! A hyper client behind a stack, and a server that fails for a while. `cargo run --example client_hyper`
//!
//! It prints how the circuit opens, rejects calls, probes the server, and closes.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    routing::get,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{net::TcpListener, time};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_reliability::{
    BoxError, Error, Event,
    circuit_breaker::CircuitBreakerConfig,
    http::{self, ReconnectLayer, ReplayLayer, TrackedConnector},
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::select! {
        result = server(listener) => result?,
        result = calls(address) => result?,
    }
    Ok(())
}

async fn calls(address: SocketAddr) -> Result<(), BoxError> {
    let breaker =
        CircuitBreakerConfig::new().failure_rate(0.5).min_requests(4).open_for(Duration::from_millis(300));
    let stack = http::stack()
        .named("stock")
        .timeout(Duration::from_secs(2))
        .circuit_breaker(breaker)
        .attempt_timeout(Duration::from_millis(500))
        .listen(|event: &Event| println!("   *** {event}"))
        .build()?;
    let connector = TrackedConnector::new(HttpConnector::new());
    let mut client = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(&stack)
        .layer(ReconnectLayer::new())
        .service(Client::builder(TokioExecutor::new()).build(connector));

    for n in 1..=12 {
        let request = Request::get(format!("http://{address}/")).body(Body::empty())?;
        match client.ready().await?.call(request).await {
            Ok(response) => println!("{n:2}: {}", response.status()),
            Err(Error::Rejected(rejected)) => println!("{n:2}: rejected by {rejected}"),
            Err(Error::Inner(error)) => println!("{n:2}: {error}"),
        }
        time::sleep(Duration::from_millis(80)).await;
    }
    println!("{:?}", stack.circuit_breaker().snapshot().counts);
    Ok(())
}

/// Fails its first four requests.
async fn server(listener: TcpListener) -> io::Result<()> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let answer = async || match ASKED.fetch_add(1, Ordering::Relaxed) {
        ..4 => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::OK,
    };
    axum::serve(listener, Router::new().route("/", get(answer))).await
}
