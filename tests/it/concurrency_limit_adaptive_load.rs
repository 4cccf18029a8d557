//! A limit that learns, with its queue, in front of twenty workers: by class on a paused clock, and over real sockets.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use axum::{Router, error_handling::HandleErrorLayer, http::StatusCode, routing::get};
use futures::future::join_all;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{
    runtime::Builder,
    sync::Semaphore,
    time::{sleep, sleep_until},
};
use tower::{BoxError, Layer, Service, ServiceBuilder, service_fn};
use tower_reliability::{
    Priority,
    concurrency_limit::{AdaptiveLimitConfig, ConcurrencyLimitConfig},
    http,
    wait_queue::WaitQueueConfig,
};

use crate::peers::serve;

const SEED: u64 = 1;
const WORKERS: usize = 20;
/// What each worker takes, on average.
const TAKES: Duration = Duration::from_millis(20);
/// Twenty workers of 20 ms.
const CAPACITY: f64 = 1_000.0;
const SECONDS: f64 = 20.0;

#[derive(Clone, Copy)]
struct Call {
    priority: Priority,
    takes: Duration,
}

/// Twenty workers, and a queue without an end in front of them.
fn workers() -> impl Service<Call, Response = (), Error = BoxError, Future: Send> + Clone + Send + 'static {
    let workers = Arc::new(Semaphore::new(WORKERS));
    service_fn(move |call: Call| {
        let workers = Arc::clone(&workers);
        async move {
            let _worker = workers.acquire().await?;
            sleep(call.takes).await;
            Ok::<_, BoxError>(())
        }
    })
}

/// Exponential times.
fn around(rng: &mut SmallRng, mean: Duration) -> Duration {
    mean.mul_f64(-(1.0 - rng.random::<f64>()).ln())
}

/// Sends calls of all classes at this rate. Returns the goodput per second, and the ratio of successes by class.
async fn send(name: &str, config: ConcurrencyLimitConfig, rate: f64) -> (f64, [f64; 4]) {
    let layer = config.build().expect("valid").priority(|call: &Call| call.priority);
    let service = layer.layer(workers());
    let mut rng = SmallRng::seed_from_u64(SEED);
    let begin = tokio::time::Instant::now();
    let (mut at, mut calls) = (begin, Vec::new());
    while at < begin + Duration::from_secs_f64(SECONDS) {
        // A tenth of the capacity is critical, and the demand of the other classes is above it.
        let priority = match rng.random_range(0..20) {
            0 => Priority::Critical,
            1..5 => Priority::High,
            5..12 => Priority::Normal,
            _ => Priority::Low,
        };
        let call = Call { priority, takes: around(&mut rng, TAKES) };
        let mut service = service.clone();
        sleep_until(at).await;
        calls.push(tokio::spawn(async move {
            let sent = tokio::time::Instant::now();
            (call.priority, service.call(call).await.is_ok(), sent.elapsed())
        }));
        at += around(&mut rng, Duration::from_secs_f64(1.0 / rate));
    }
    let ended: Vec<_> = join_all(calls).await.into_iter().map(|call| call.expect("no panic")).collect();
    let mut times: Vec<_> = ended.iter().filter(|(_, served, _)| *served).map(|(.., took)| *took).collect();
    times.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand calls")]
    let ratio = |class: Option<Priority>| {
        let of = |call: &&(Priority, bool, Duration)| class.is_none_or(|class| call.0 == class);
        ended.iter().filter(of).filter(|call| call.1).count() as f64 / ended.iter().filter(of).count() as f64
    };
    let by_class = Priority::ALL.map(|class| ratio(Some(class)));
    let goodput = rate * ratio(None);
    let (p99, limit) = (times[times.len() * 99 / 100].as_millis(), layer.handle().snapshot().limit);
    println!("{name}, {rate}/s: {goodput:.0}/s served, p99 {p99} ms, limit {limit}, by class {by_class:.4?}");
    assert_eq!((layer.handle().snapshot().in_flight, layer.handle().snapshot().waiting), (0, 0));
    (goodput, by_class)
}

#[tokio::test(start_paused = true)]
async fn case_30_at_twice_the_load_an_adaptive_limit_serves_critical_calls_and_uses_the_backend() {
    let queue = WaitQueueConfig::new().max_wait(Duration::from_millis(100));
    let adaptive = ConcurrencyLimitConfig::new(20).adaptive(AdaptiveLimitConfig::new()).queue(queue);
    for rate in [0.5, 2.0] {
        let (goodput, classes) = send("adaptive", adaptive, rate * CAPACITY).await;
        assert!(classes[0] >= 0.999, "critical: {}", classes[0]);
        let least = if rate < 1.0 {
            0.99 * rate * CAPACITY
        } else {
            0.95 * send("fixed", ConcurrencyLimitConfig::new(25).queue(queue), rate * CAPACITY).await.0
        };
        assert!(goodput >= least, "{goodput} of {least}");
    }
}

/// A server with few workers, so that a busy machine can serve them, and this limit.
fn app(limit: Limit) -> Router {
    let workers = Arc::new(Semaphore::new(SERVER_WORKERS));
    let handler = move || {
        let workers = Arc::clone(&workers);
        async move {
            let _worker = workers.acquire().await.expect("it stays open");
            sleep(TAKES).await;
        }
    };
    let app = Router::new().route("/", get(handler));
    let queue = WaitQueueConfig::new().max_wait(Duration::from_millis(50));
    let config = ConcurrencyLimitConfig::new(20).adaptive(AdaptiveLimitConfig::new()).queue(queue);
    match limit {
        Limit::None => app,
        Limit::Adaptive => app.layer(http::server().concurrency_limit(config).build().expect("valid")),
        Limit::Shed(limit) => app.layer(
            ServiceBuilder::new()
                .layer(HandleErrorLayer::new(|_: BoxError| async { StatusCode::SERVICE_UNAVAILABLE }))
                .load_shed()
                .layer(tower::limit::GlobalConcurrencyLimitLayer::new(limit)),
        ),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    None,
    /// tower's load shed, over tower's limit.
    Shed(usize),
    Adaptive,
}

/// The answers per second within the objective, and the 99th percentile of the answers 200 in milliseconds.
async fn visit(limit: Limit, rate: u32, length: Duration) -> (f64, u128) {
    let url = format!("http://{}/", serve(app(limit)).await);
    let clients = thread::spawn(move || {
        Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
            let client = reqwest::Client::new();
            let begin = Instant::now();
            let (mut calls, mut sent) = (Vec::new(), 0);
            while begin.elapsed() < length {
                while begin.elapsed() * rate >= Duration::from_secs(1) * sent {
                    sent += 1;
                    let get = client.get(&url);
                    calls.push(tokio::spawn(async move {
                        let sent = Instant::now();
                        let answer = get.timeout(Duration::from_secs(2)).send().await;
                        (answer.is_ok_and(|answer| answer.status() == StatusCode::OK), sent.elapsed())
                    }));
                }
                sleep(Duration::from_millis(1)).await;
            }
            join_all(calls).await
        })
    });
    let ended =
        tokio::task::spawn_blocking(move || clients.join()).await.expect("no panic").expect("no panic");
    let mut times: Vec<_> = ended
        .into_iter()
        .map(|call| call.expect("no panic"))
        .filter(|call| call.0)
        .map(|call| call.1)
        .collect();
    times.sort_unstable();
    let good =
        u32::try_from(times.iter().filter(|took| **took <= OBJECTIVE).count()).expect("a few thousand");
    let p99 = times.get(times.len() * 99 / 100).map_or(0, Duration::as_millis);
    (f64::from(good) / length.as_secs_f64(), p99)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_at_twice_its_capacity_answers_with_an_adaptive_limit_and_stalls_without() {
    let mut goodput = Vec::new();
    for limit in [Limit::None, Limit::Shed(8), Limit::Adaptive] {
        let (good, p99) = visit(limit, 2 * RATE, Duration::from_secs(4)).await;
        println!("{limit:?}: {good:.0}/s within {OBJECTIVE:?}, p99 {p99} ms");
        goodput.push(good);
    }
    // A machine that others use too may not serve the capacity of the workers, whatever the limit.
    let is_judged = goodput[1] >= 0.8 * f64::from(RATE);
    let holds = goodput[2] >= 0.7 * goodput[1] && goodput[2] >= 3.0 * goodput[0];
    assert!(!is_judged || holds, "{goodput:?}");
}

const SERVER_WORKERS: usize = 5;
/// Their capacity in calls per second.
const RATE: u32 = 250;
const OBJECTIVE: Duration = Duration::from_millis(200);
