//! A reqwest client with retries, and a server that fails at first. `cargo run --example reqwest_retry`
//!
//! reqwest retries some requests by itself, without a budget, and this layer does not see it. Switch that off with
//! `ClientBuilder::retry(reqwest::retry::never())`.
#![allow(clippy::disallowed_methods, reason = "an example may read the clock")]

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::get,
};
use reqwest::{Method, Request};
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_reliability::{
    BoxError, Error, http, retry::RetryConfig, retry_budget::RetryBudgetConfig, stack::WrappedErrors,
    timeout::TimeoutConfig,
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
    // One budget for all layers that send requests to this server.
    let budget = RetryBudgetConfig::new().ratio(0.2).build()?;
    let retry = RetryConfig::exponential(Duration::from_millis(50))
        .max_attempts(4)
        .build()?
        .named("stock")
        .protocol(http::protocol())
        .budget(budget);
    let handle = retry.handle();
    let client = reqwest::Client::builder().retry(reqwest::retry::never()).build()?;
    let mut client = ServiceBuilder::new()
        .layer(TimeoutConfig::new(Duration::from_secs(10)).build()?)
        .layer(retry)
        .layer(TimeoutConfig::new(Duration::from_secs(2)).build()?)
        .layer(WrappedErrors)
        .service(client);

    for method in [Method::GET, Method::GET, Method::POST] {
        let request = Request::new(method.clone(), format!("http://{address}/stock").parse()?);
        let began = Instant::now();
        match client.ready().await?.call(request).await {
            Ok(response) => {
                let status = response.status();
                println!("{method}: {status}: {} after {:.1?}", response.text().await?, began.elapsed());
            }
            Err(Error::Rejected(rejected)) => println!("{method}: rejected by {rejected}"),
            Err(Error::Inner(error)) => println!("{method}: {error}"),
        }
    }

    let seen = handle.snapshot();
    println!("\n{:?}", seen.counts);
    println!("{:?}\n", seen.budget);
    for attempt in seen.history {
        let outcome = attempt.class.map_or("well".to_owned(), |class| class.to_string());
        println!("attempt {} after {:.1?}: {outcome}", attempt.attempt, attempt.delay);
    }
    Ok(())
}

/// Fails, then asks for a second without requests, then serves. It fails every order.
async fn server(listener: TcpListener) -> io::Result<()> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let stock = async |headers: HeaderMap| {
        let number = headers.get("x-retry-attempt").and_then(|number| number.to_str().ok()).unwrap_or("none");
        println!("  the server is asked; x-retry-attempt: {number}");
        match ASKED.fetch_add(1, Ordering::Relaxed) {
            0 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            1 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response(),
            _ => "12 apples".into_response(),
        }
    };
    let order = async || (StatusCode::BAD_GATEWAY, "the order may have been placed");
    axum::serve(listener, Router::new().route("/stock", get(stock).post(order))).await
}
