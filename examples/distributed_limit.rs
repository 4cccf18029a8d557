//! Four instances of a service that keep one limit together. `cargo run --example distributed_limit`, or with
//! `-- --redis redis://127.0.0.1:6379`.
//!
//! The limit is 1 000 requests per second for all instances, which share a bucket in memory or in Redis. The instances have
//! different loads: the first has most of the requests, and the last has none at first. After four seconds, the loads turn
//! round. Stop Redis meanwhile, and start it again: each instance goes on with its share.
#![allow(clippy::disallowed_methods, reason = "an example may spawn tasks and read the clock")]

use std::{env, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, interval},
};
use tower::{Layer, ServiceExt, service_fn};
use tower_reliability::{
    BoxError, ConfigError, Event,
    rate_limit::{
        RateLimitConfig,
        leased::{LeasedRateLimit, MemoryQuota, QuotaSource},
    },
    redis::RedisQuota,
};

const LIMIT: u32 = 1_000;
const SECONDS: usize = 8;
/// The requests per 5 ms to each instance, and from the fifth second on.
const LOADS: [(u32, u32); 4] = [(8, 0), (4, 2), (2, 4), (0, 8)];

/// An instance of the service.
struct Instance<S> {
    service: LeasedRateLimit<S>,
}

impl<S: Clone> Instance<S> {
    fn new(source: impl QuotaSource, inner: S) -> Result<Self, ConfigError> {
        let layer = RateLimitConfig::per_second(LIMIT)
            .burst(200)
            .leased()
            .instances(4)
            .build("orders", source)?
            .listen(|event: &Event| println!("{event}"));
        Ok(Self { service: layer.layer(inner) })
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => run(&MemoryQuota::new()).await,
        // Each instance would have a connection of its own.
        ["--redis", address] => run(&RedisQuota::open(address)?).await,
        _ => Err("usage: distributed_limit [--redis URL]".into()),
    }
}

async fn run(source: &(impl QuotaSource + Clone)) -> Result<(), BoxError> {
    let mut instances = JoinSet::new();
    for (number, (before, after)) in LOADS.into_iter().enumerate() {
        let inner = service_fn(async |(): ()| Ok::<_, BoxError>(()));
        let instance = Instance::new(source.clone(), inner)?;
        instances.spawn(async move {
            let (begin, mut turn) = (Instant::now(), interval(Duration::from_millis(5)));
            let mut passed = [0_u32; SECONDS];
            loop {
                turn.tick().await;
                let second = usize::try_from(begin.elapsed().as_secs()).unwrap_or(usize::MAX);
                let Some(passed) = passed.get_mut(second) else { break };
                for _ in 0..if second < SECONDS / 2 { before } else { after } {
                    // A rejected request would be answered with 429 and `Retry-After`.
                    *passed += u32::from(instance.service.clone().oneshot(()).await.is_ok());
                }
            }
            (number, passed)
        });
    }
    let mut rows = instances.join_all().await;
    rows.sort_unstable();
    println!("requests that passed, per second:");
    for (number, passed) in &rows {
        println!("  instance {}  {passed:5?}", number + 1);
    }
    let sum = |second| rows.iter().map(|(_, passed)| passed[second]).sum::<u32>();
    println!("  together    {:5?}", (0..SECONDS).map(sum).collect::<Vec<_>>());
    Ok(())
}
