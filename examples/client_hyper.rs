//! A hyper client in a struct that 50 tasks share, and a server with an outage. `cargo run --example client_hyper`
//!
//! It prints how the circuit opens, rejects calls, probes the server, and closes. At the end it prints the answers that
//! the tasks got, and how many requests reached the server while it was down.
#![allow(clippy::disallowed_methods, reason = "an example may spawn tasks and read the clock")]

use std::{
    collections::BTreeMap,
    future::pending,
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::get};
use hyper::Request;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{net::TcpListener, task::JoinSet, time};
use tower_reliability::{
    BoxError, Error, Event, circuit_breaker::CircuitBreakerConfig, http::HttpClient, retry::RetryConfig,
};

/// A client of the stock server. Clones share the circuit, the retry budget and the connections.
#[derive(Clone)]
struct Stock {
    http: HttpClient,
    address: SocketAddr,
}

impl Stock {
    fn new(address: SocketAddr) -> Result<Self, BoxError> {
        let stack = tower_reliability::http::stack()
            .named("stock")
            .timeout(Duration::from_secs(2))
            .retry(RetryConfig::exponential(Duration::from_millis(20)))
            .circuit_breaker(CircuitBreakerConfig::new().open_for(Duration::from_millis(300)))
            .attempt_timeout(Duration::from_millis(500))
            .listen(|event: &Event| println!("   *** {event}"))
            .build()?;
        Ok(Self { http: stack.client(Client::builder(TokioExecutor::new()).build_http()), address })
    }

    async fn apples(&self) -> String {
        let request = Request::get(format!("http://{}/apples", self.address)).body(String::new());
        match self.http.send(request.expect("the address is valid")).await {
            Ok(response) => response.status().to_string(),
            Err(Error::Rejected(_)) => "rejected".to_owned(),
            Err(Error::Inner(error)) => error.to_string(),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let stock = Stock::new(listener.local_addr()?)?;
    let server = tokio::spawn(server(listener));
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let stock = stock.clone();
        tasks.spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..20 {
                answers.push(stock.apples().await);
                time::sleep(Duration::from_millis(100)).await;
            }
            answers
        });
    }
    let mut counts = BTreeMap::<String, u32>::new();
    for answer in tasks.join_all().await.into_iter().flatten() {
        *counts.entry(answer).or_default() += 1;
    }
    server.abort();
    println!("answers to 1000 calls of 50 tasks: {counts:?}");
    println!("requests during the outage of 900 ms: {}", DURING_OUTAGE.load(Ordering::Relaxed));
    Ok(())
}

static DURING_OUTAGE: AtomicU32 = AtomicU32::new(0);

/// Answers for 300 ms. Then it fails for 300 ms, hangs for 600 ms, and answers again.
async fn server(listener: TcpListener) -> io::Result<()> {
    let began = time::Instant::now();
    let apples = async move || {
        let phase = began.elapsed().as_millis() / 300;
        if (1..4).contains(&phase) {
            DURING_OUTAGE.fetch_add(1, Ordering::Relaxed);
        }
        match phase {
            1 => StatusCode::INTERNAL_SERVER_ERROR,
            2 | 3 => pending().await,
            _ => StatusCode::OK,
        }
    };
    axum::serve(listener, Router::new().route("/apples", get(apples))).await
}
