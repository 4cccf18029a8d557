//! A reqwest client with GET and POST of JSON, and a server that fails, hangs, and asks for patience.
//! `cargo run --example client_reqwest --features reqwest`
//!
//! reqwest retries some requests by itself, without a budget, and the stack does not see it. Switch that off with
//! `ClientBuilder::retry(reqwest::retry::never())`.

use std::{
    future::pending,
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_reliability::{
    BoxError, Error, Event,
    circuit_breaker::CircuitBreakerConfig,
    http::{ReqwestClient, ReqwestRequest},
    retry::RetryConfig,
};

/// A client of the shop. Clones share the circuit, the retry budget and the connections.
#[derive(Clone)]
struct Shop {
    http: ReqwestClient,
}

impl Shop {
    fn new() -> Result<Self, BoxError> {
        let stack = tower_reliability::http::stack()
            .named("shop")
            .timeout(Duration::from_secs(10))
            .retry(RetryConfig::exponential(Duration::from_millis(50)).max_attempts(4))
            .circuit_breaker(CircuitBreakerConfig::consecutive(5))
            .attempt_timeout(Duration::from_millis(300))
            .listen(|event: &Event| println!("   *** {event}"))
            .build()?;
        let client = reqwest::Client::builder().retry(reqwest::retry::never()).build()?;
        Ok(Self { http: stack.reqwest(client) })
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::select! {
        result = server(listener) => Ok(result?),
        result = calls(address) => result,
    }
}

async fn calls(address: SocketAddr) -> Result<(), BoxError> {
    let shop = Shop::new()?;
    let url = |path: &str| format!("http://{address}{path}");
    let order = || shop.http.post(url("/orders")).json(&json!({ "apples": 12 }));
    // Without earlier successes, the budget would take these few failures for an outage, and grant no retry.
    for _ in 0..20 {
        shop.http.get(url("/nothing")).send().await?;
    }
    print("POST /orders", order()).await;
    print("POST /orders with a key", order().header("idempotency-key", "order-7")).await;
    print("GET /stock", shop.http.get(url("/stock"))).await;
    Ok(())
}

async fn print(title: &str, request: ReqwestRequest) {
    match request.send().await {
        Ok(response) => {
            let (status, text) = (response.status(), response.text().await);
            println!("{title}: {status}: {}", text.unwrap_or_else(|error| error.to_string()));
        }
        Err(Error::Rejected(rejected)) => println!("{title}: rejected by {rejected}"),
        Err(error) => println!("{title}: {}", error.report()),
    }
}

/// Fails at the first request, asks for a second of patience, hangs, and then answers. It fails the first two orders.
async fn server(listener: TcpListener) -> io::Result<()> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    static ORDERS: AtomicU32 = AtomicU32::new(0);
    let stock = async || -> Response {
        match ASKED.fetch_add(1, Ordering::Relaxed) {
            0 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            1 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response(),
            2 => pending().await,
            _ => "12 apples".into_response(),
        }
    };
    let order = async |Json(order): Json<Value>| match ORDERS.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => (StatusCode::BAD_GATEWAY, "the order may have been placed").into_response(),
        _ => format!("{} apples ordered", order["apples"]).into_response(),
    };
    let app = Router::new().route("/stock", get(stock)).route("/orders", axum::routing::post(order));
    axum::serve(listener, app).await
}
