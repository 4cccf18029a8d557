//! A client whose stack comes from TOML, with and without a hedge. `cargo run --example stack_from_toml`
//!
//! The server fails some requests and is slow with others. A program would read the text from a file.
#![allow(clippy::disallowed_methods, reason = "an example may read the clock")]

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use axum::{Router, http::StatusCode, routing::get};
use hyper::Request;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{net::TcpListener, time::sleep};
use tower_reliability::{
    BoxError,
    hedge::HedgeHandle,
    http::{self, HttpClient},
    retry::RetryHandle,
    stack::StackConfig,
};

const FILE: &str = r#"
timeout = "5s"
attempt_timeout = "1s"

[retry]
backoff = { exponential = "20ms" }

[circuit_breaker]
failure_rate = 0.5
"#;

const HEDGE: &str = r#"
[hedge]
after = { fixed = "50ms" }
"#;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::select! {
        result = server(listener) => result?,
        result = both(address) => result?,
    }
    Ok(())
}

async fn both(address: SocketAddr) -> Result<(), BoxError> {
    println!("without a hedge:");
    calls(address, FILE).await?;
    println!("with a hedge:");
    calls(address, &format!("{FILE}{HEDGE}")).await?;
    // An error of the file names the key and says what to write.
    if let Err(error) = toml::from_str::<StackConfig>("timeout = 5") {
        println!("a file with an error:\n{error}");
    }
    Ok(())
}

/// A client of the stock server. A stage that the file leaves out has no handle.
struct Stock {
    http: HttpClient,
    retry: Option<RetryHandle>,
    hedge: Option<HedgeHandle>,
}

impl Stock {
    fn new(file: &str) -> Result<Self, BoxError> {
        let config: StackConfig = toml::from_str(file)?;
        let stack = http::stack_from(config).named("stock").build()?;
        let hyper = Client::builder(TokioExecutor::new()).build_http();
        Ok(Self { http: stack.client(hyper), retry: stack.retry(), hedge: stack.hedge() })
    }
}

async fn calls(address: SocketAddr, file: &str) -> Result<(), BoxError> {
    let stock = Stock::new(file)?;
    let (mut answered, mut slowest) = (0, Duration::ZERO);
    for _ in 0..40 {
        let started = Instant::now();
        let request = Request::get(format!("http://{address}/")).body(String::new())?;
        let response = stock.http.send(request).await;
        answered += u32::from(response.is_ok_and(|response| response.status().is_success()));
        slowest = slowest.max(started.elapsed());
    }
    println!("  {answered} of 40 answered, the slowest in {} ms", slowest.as_millis());
    if let Some(retry) = &stock.retry {
        println!("  retries: {}", retry.snapshot().counts.retries);
    }
    match &stock.hedge {
        Some(hedge) => println!("  hedges:  {}", hedge.snapshot().counts.hedges),
        None => println!("  no hedge in the file"),
    }
    Ok(())
}

/// Fails every ninth request, and is slow with every sixth.
async fn server(listener: TcpListener) -> io::Result<()> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let answer = async || {
        let asked = ASKED.fetch_add(1, Ordering::Relaxed) + 1;
        if asked.is_multiple_of(6) {
            sleep(Duration::from_millis(400)).await;
        }
        if asked.is_multiple_of(9) { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
    };
    axum::serve(listener, Router::new().route("/", get(answer))).await
}
