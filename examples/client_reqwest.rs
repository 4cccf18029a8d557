//! A reqwest client behind a stack, and a server that hangs. `cargo run --example client_reqwest`
//!
//! A `reqwest::Client` is a tower service of `reqwest::Request`, so the stack takes it as it is. Switch its own retries
//! off: the stack would not see them.

use std::{future::pending, io, net::SocketAddr, time::Duration};

use axum::{Router, http::StatusCode, routing::get};
use reqwest::Method;
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceExt};
use tower_reliability::{BoxError, Error, circuit_breaker::CircuitBreakerConfig, http};

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
    let client = reqwest::Client::builder().retry(reqwest::retry::never()).build()?;
    let stack = http::stack()
        .named("weather")
        .circuit_breaker(CircuitBreakerConfig::consecutive(3))
        .attempt_timeout(Duration::from_millis(100))
        .build()?;
    let mut client = stack.layer(client);

    // A 404 is the caller's mistake, and does not count against the server.
    for path in ["/today", "/yesterday", "/tomorrow", "/broken", "/tomorrow", "/today"] {
        let request = reqwest::Request::new(Method::GET, format!("http://{address}{path}").parse()?);
        match client.ready().await?.call(request).await {
            Ok(response) => println!("{path}: {}: {}", response.status(), response.text().await?),
            Err(Error::Rejected(rejected)) => println!("{path}: rejected by {rejected}"),
            Err(Error::Inner(error)) => println!("{path}: {error}"),
        }
    }
    println!("{:?}", stack.circuit_breaker().snapshot().counts);
    Ok(())
}

/// Knows today's weather, fails on one path, and never answers about tomorrow.
async fn server(listener: TcpListener) -> io::Result<()> {
    let app = Router::new()
        .route("/today", get(async || "rain"))
        .route("/tomorrow", get(async || pending::<&str>().await))
        .route("/broken", get(async || (StatusCode::INTERNAL_SERVER_ERROR, "oh")));
    axum::serve(listener, app).await
}
