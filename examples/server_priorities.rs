//! An axum server under twice its load serves important requests first. `cargo run --example server_priorities`
//!
//! The server works on ten requests at a time, which is 200 per second. Clients send 400 per second, a quarter of them to
//! each path. The example prints the successes and the waits of each priority.
#![allow(clippy::disallowed_methods, reason = "the example reads the clock of its own clients")]

use std::{net::SocketAddr, time::Duration};

use axum::{Router, body::Body, http::Request, routing::get};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tower_reliability::{
    BoxError, ConfigError, Priority,
    concurrency_limit::{ConcurrencyLimitConfig, ConcurrencyLimitHandle},
    http::{self, PriorityHeader},
};

const WORK: Duration = Duration::from_millis(50);
const REQUESTS: u32 = 1_600;
const EVERY: Duration = Duration::from_micros(2_500);
const PATHS: [&str; 4] = ["/pay", "/cart", "/tea", "/export"];

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (app, limit) = app()?;
    tokio::select! {
        result = async { axum::serve(listener, app).await } => result?,
        () = visit(address) => {}
    }
    println!("{:?}", limit.snapshot().counts);
    Ok(())
}

fn app() -> Result<(Router, ConcurrencyLimitHandle), ConfigError> {
    let server = http::server()
        .concurrency_limit(ConcurrencyLimitConfig::new(10))
        // A client may lower its own request by the header `priority: u=7`.
        .priority(PriorityHeader::new().base(by_path))
        .timeout(Duration::from_secs(2))
        .build()?;
    let limit = server.concurrency_limit();
    Ok((Router::new().route("/{page}", get(async || sleep(WORK).await)).layer(server), limit))
}

fn by_path(request: &Request<Body>) -> Priority {
    match request.uri().path() {
        "/pay" => Priority::Critical,
        "/cart" => Priority::High,
        "/export" => Priority::Low,
        _ => Priority::Normal,
    }
}

/// Sends requests at a steady rate, whatever the answers, and prints their ends.
async fn visit(address: SocketAddr) {
    let client = reqwest::Client::new();
    let begin = Instant::now();
    let mut requests = JoinSet::new();
    for number in 0..REQUESTS {
        let due = begin + EVERY * number;
        sleep_until(due).await;
        let path = number as usize % PATHS.len();
        let request = client.get(format!("http://{address}{}", PATHS[path]));
        requests.spawn(async move {
            let succeeded = request.send().await.is_ok_and(|response| response.status().is_success());
            (path, succeeded, due.elapsed())
        });
    }
    let ends = requests.join_all().await;
    for (at, path) in PATHS.iter().enumerate() {
        let of_path = || ends.iter().filter(|(path, ..)| *path == at);
        let mut waits: Vec<_> =
            of_path().filter(|end| end.1).map(|(.., took)| took.saturating_sub(WORK)).collect();
        waits.sort_unstable();
        let wait = |percent: usize| waits.get(waits.len() * percent / 100).copied().unwrap_or_default();
        println!(
            "{path:8} {:3} of {} succeeded, half of them waited up to {:3.0?}, and 99 % up to {:3.0?}",
            waits.len(),
            of_path().count(),
            wait(50),
            wait(99),
        );
    }
}
