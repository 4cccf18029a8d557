//! The events and the counts of a stack, while its backend fails. `cargo run --example observe --features reqwest`
//!
//! A listener hears every retry, timeout and change of the circuit. A healthy call has no event. A snapshot has the
//! counts.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::get};
use tokio::{net::TcpListener, time::sleep};
use tower_reliability::{
    BoxError, ConfigError, Event,
    circuit_breaker::{CircuitBreakerConfig, CircuitBreakerHandle},
    http::{self, ReqwestClient},
    retry::{RetryConfig, RetryHandle},
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let down = Arc::new(AtomicBool::new(false));
    tokio::select! {
        result = async { axum::serve(listener, server(Arc::clone(&down))).await } => result?,
        result = outage(&down) => result?,
        result = calls(address) => result?,
    }
    Ok(())
}

/// A client of the shop, and the handles of its circuit and its retries.
struct Shop {
    http: ReqwestClient,
    circuit: CircuitBreakerHandle,
    retry: RetryHandle,
}

impl Shop {
    fn new() -> Result<Self, ConfigError> {
        let stack = http::stack()
            .named("shop")
            .timeout(Duration::from_secs(1))
            .retry(RetryConfig::new().max_attempts(2))
            .circuit_breaker(CircuitBreakerConfig::consecutive(5))
            .listen(|event: &Event| println!("    event: {event}"))
            .build()?;
        let (circuit, retry) = (stack.circuit_breaker(), stack.retry());
        Ok(Self { http: stack.reqwest(reqwest::Client::new()), circuit, retry })
    }
}

async fn calls(address: SocketAddr) -> Result<(), BoxError> {
    let shop = Shop::new()?;
    for second in 1..=5 {
        for _ in 0..10 {
            let _ = shop.http.get(format!("http://{address}/tea")).send().await;
            sleep(Duration::from_millis(100)).await;
        }
        let (circuit, retry) = (shop.circuit.snapshot(), shop.retry.snapshot());
        println!(
            "after {second} s: circuit {}, {} calls rejected, {} retries, {:.1} left in the budget",
            circuit.state, circuit.counts.rejected, retry.counts.retries, retry.budget.balance,
        );
    }
    Ok(())
}

/// Is down from the first second on, for a second and a half.
async fn outage(down: &AtomicBool) -> Result<(), BoxError> {
    sleep(Duration::from_secs(1)).await;
    down.store(true, Ordering::Relaxed);
    sleep(Duration::from_millis(1_500)).await;
    down.store(false, Ordering::Relaxed);
    pending().await
}

fn server(down: Arc<AtomicBool>) -> Router {
    let tea = async move || {
        if down.load(Ordering::Relaxed) {
            (StatusCode::INTERNAL_SERVER_ERROR, "no water")
        } else {
            (StatusCode::OK, "tea")
        }
    };
    Router::new().route("/tea", get(tea))
}
