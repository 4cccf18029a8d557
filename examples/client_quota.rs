//! Clients that keep the quota of their provider, or learn it, beside a client that does not.
//! `cargo run --example client_quota`
//!
//! The provider allows 50 requests per second and answers the others with 429 and `Retry-After`. Each client sends 80
//! reports and then 20 payments at once. After 500 ms, another program of the same account sends 20 requests, of which
//! no client knows. Retries wait as long as `Retry-After` says. The third client begins with four times the quota.
#![allow(clippy::disallowed_methods, reason = "an example may spawn tasks and read the clock")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, http::StatusCode, response::Response, routing::get};
use hyper::Request;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};
use tower::{ServiceBuilder, util::MapResponseLayer};
use tower_reliability::{
    BoxError, ConfigError, Error, Priority,
    http::{self, HttpClient, RejectionLayer, RequestExtensions},
    rate_limit::{RateLimitConfig, adaptive::AdaptiveRateConfig},
    retry::RetryConfig,
};

/// The requests per second of the contract.
const QUOTA: u32 = 50;

/// A client of the provider. Clones share the quota and the connections.
#[derive(Clone)]
struct Provider {
    http: HttpClient,
    address: SocketAddr,
}

impl Provider {
    fn new(address: SocketAddr, pacing: Option<RateLimitConfig>) -> Result<Self, ConfigError> {
        let stack = http::stack()
            .named("provider")
            .timeout(Duration::from_secs(10))
            .retry(RetryConfig::new())
            .pacing(pacing)
            .priority(RequestExtensions)
            .attempt_timeout(Duration::from_secs(2))
            .build()?;
        Ok(Self { http: stack.client(Client::builder(TokioExecutor::new()).build_http()), address })
    }

    /// The time until a successful answer.
    async fn call(&self, priority: Priority) -> Option<Duration> {
        let began = Instant::now();
        let request = Request::get(format!("http://{}/", self.address)).extension(priority);
        let response = self.http.send(request.body(String::new()).expect("the address is valid")).await;
        response.ok().filter(|response| response.status().is_success()).map(|_| began.elapsed())
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // The requests do not arrive as evenly as they leave, so the burst stays below that of the provider.
    let paced = RateLimitConfig::per_second(QUOTA).burst(1).max_wait(Duration::from_secs(10));
    let learns = RateLimitConfig::per_second(4 * QUOTA).burst(1).max_wait(Duration::from_secs(10));
    let learns = learns.adaptive(AdaptiveRateConfig::new());
    let clients =
        [("without pacing", None), ("with pacing", Some(paced)), ("with pacing that learns", Some(learns))];
    for (name, pacing) in clients {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (provider, refused) = (Provider::new(listener.local_addr()?, pacing)?, Arc::default());
        let server = axum::serve(listener, app(Arc::clone(&refused))?);
        println!("{name}:");
        tokio::select! {
            result = server.into_future() => result?,
            () = work(&provider) => {}
        }
        println!("  the provider answered 429 to {} requests", refused.load(Ordering::Relaxed));
    }
    Ok(())
}

/// The provider. It keeps the quota, and counts the requests that it refuses.
fn app(refused: Arc<AtomicU32>) -> Result<Router, ConfigError> {
    let count = move |response: Response| {
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            refused.fetch_add(1, Ordering::Relaxed);
        }
        response
    };
    let layers = ServiceBuilder::new()
        .layer(MapResponseLayer::new(count))
        .layer(RejectionLayer::new())
        .layer(RateLimitConfig::per_second(QUOTA).burst(10).build()?)
        .map_err(Error::inner);
    Ok(Router::new().route("/", get(async || "done")).layer(layers))
}

/// Sends 80 reports and 20 payments, and prints how many succeed.
async fn work(provider: &Provider) {
    let calls = [(Priority::Low, 80), (Priority::Critical, 20)];
    let mut tasks = JoinSet::new();
    for (priority, count) in calls {
        for _ in 0..count {
            let provider = provider.clone();
            tasks.spawn(async move { (priority, provider.call(priority).await) });
        }
    }
    other_program(provider.address).await;
    let answers = tasks.join_all().await;
    for ((priority, count), name) in calls.into_iter().zip(["reports", "payments"]) {
        let times = answers.iter().filter(|(of, _)| *of == priority).filter_map(|(_, time)| *time);
        let times: Vec<Duration> = times.collect();
        let longest = times.iter().max().copied().unwrap_or_default();
        println!("  {} of {count} {name} succeeded, the slowest after {longest:.1?}", times.len());
    }
}

/// Uses a part of the quota, and ignores the answers.
async fn other_program(address: SocketAddr) {
    sleep(Duration::from_millis(500)).await;
    let client = Client::builder(TokioExecutor::new()).build_http::<String>();
    let url: hyper::Uri = format!("http://{address}/").parse().expect("the address is valid");
    futures::future::join_all((0..20).map(|_| client.get(url.clone()))).await;
}
