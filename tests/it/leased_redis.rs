//! Four instances with one limit in Redis, in real time: busy, killed, paused and slow.

use std::{
    future::{Future, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
    time::{Instant, interval, sleep, sleep_until},
};
use tower::{Layer, Service, service_fn};
use tower_reliability::{
    Error, Event, EventKind, Listener,
    rate_limit::{
        RateLimitConfig,
        leased::{LeasedRateLimitConfig, LeasedRateLimitLayer},
    },
    redis::RedisQuota,
};

use crate::redis_server::RedisServer;

const RATE: u32 = 1_000;
/// Each of the four instances has leases of 6 units.
const BURST: u32 = 100;
const SECOND: Duration = Duration::from_secs(1);

fn limit(burst: u32) -> LeasedRateLimitConfig {
    RateLimitConfig::per_second(RATE).burst(burst).leased()
}

/// Four instances, each with a connection of its own.
struct Fleet {
    instances: Vec<LeasedRateLimitLayer>,
    /// When each call passed.
    passed: Arc<Mutex<Vec<Instant>>>,
    events: Arc<Mutex<Vec<EventKind>>>,
    begin: Instant,
    calls: JoinSet<()>,
}

impl Fleet {
    /// Calls each instance about as often as the whole limit allows.
    fn start(port: u16, burst: u32) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let instance = |_| {
            let source = RedisQuota::open(format!("redis://127.0.0.1:{port}")).expect("an address");
            limit(burst).build("api", source).expect("valid").listen(hears(Arc::clone(&events)))
        };
        let instances: Vec<_> = (0..4).map(instance).collect();
        let (passed, mut calls) = (Arc::new(Mutex::new(Vec::new())), JoinSet::new());
        for layer in instances.clone() {
            let passed = Arc::clone(&passed);
            calls.spawn(async move {
                let mut turn = interval(Duration::from_millis(2));
                loop {
                    turn.tick().await;
                    for _ in 0..2 {
                        if call(&layer) {
                            passed.lock().expect("not poisoned").push(Instant::now());
                        }
                    }
                }
            });
        }
        Self { instances, passed, events, begin: Instant::now(), calls }
    }

    async fn until(&self, second: u32) {
        sleep_until(self.begin + SECOND * second).await;
    }

    /// The calls that passed from one second to another.
    fn passed(&self, seconds: std::ops::Range<u32>) -> u32 {
        let span = self.begin + SECOND * seconds.start..self.begin + SECOND * seconds.end;
        let passed = self.passed.lock().expect("not poisoned");
        u32::try_from(passed.iter().filter(|at| span.contains(at)).count()).expect("few")
    }

    /// The highest level of one bucket of the rate that everything would have had to fit into.
    fn highest(&self) -> f64 {
        let mut passed = self.passed.lock().expect("not poisoned").clone();
        passed.sort();
        let (mut level, mut highest, mut last) = (0.0_f64, 0.0_f64, self.begin);
        for at in passed {
            level = (level - (at - last).as_secs_f64() * f64::from(RATE)).max(0.0) + 1.0;
            highest = highest.max(level);
            last = at;
        }
        highest
    }

    /// The most calls in any span of this length.
    fn most_in(&self, length: Duration) -> usize {
        let mut passed = self.passed.lock().expect("not poisoned").clone();
        passed.sort();
        let mut first = 0;
        (0..passed.len())
            .map(|last| {
                while passed[last] - passed[first] >= length {
                    first += 1;
                }
                last + 1 - first
            })
            .max()
            .unwrap_or(0)
    }

    fn stop(&mut self) {
        self.calls.abort_all();
    }
}

fn hears(events: Arc<Mutex<Vec<EventKind>>>) -> impl Listener {
    move |event: &Event| events.lock().expect("not poisoned").push(event.kind)
}

/// Whether a call passes. It is polled once: no call waits for Redis.
fn call(layer: &LeasedRateLimitLayer) -> bool {
    let inner = service_fn(|(): ()| ready(Ok::<_, Error<std::fmt::Error>>(())));
    let begin = Instant::now();
    let future = layer.layer(inner).call(());
    let Poll::Ready(answer) = std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("a call waits")
    };
    // Longer than any pause of a busy machine, and shorter than the pauses of Redis here.
    assert!(begin.elapsed() < 3 * SECOND, "a call blocks");
    answer.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_28_four_instances_over_redis_keep_one_limit_for_half_a_minute() {
    let server = RedisServer::start().await;
    let mut fleet = Fleet::start(server.port(), BURST);
    fleet.until(30).await;
    fleet.stop();
    let (total, highest) = (fleet.passed(0..30), fleet.highest());
    let (in_1, in_5) = (fleet.most_in(SECOND), fleet.most_in(5 * SECOND));
    let asked: u64 = fleet.instances.iter().map(|it| it.handle().snapshot().asked).sum();
    println!(
        "total {total}, at most {in_1} in 1 s, {in_5} in 5 s, highest level {highest:.1}, {asked} questions"
    );
    assert!((29_000..=30_100).contains(&total), "{total}");
    assert!(in_5 <= 5_100, "{in_5}");
    assert!(highest <= f64::from(BURST) * 1.02, "in any span: {highest}");
    assert_eq!(fleet.events.lock().expect("not poisoned")[..], []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_is_killed_and_comes_back_is_survived() {
    let mut server = RedisServer::start().await;
    let mut fleet = Fleet::start(server.port(), BURST);
    fleet.until(4).await;
    server.kill();
    fleet.until(8).await;
    server.restart().await;
    fleet.until(13).await;
    fleet.stop();
    let (lost, back, highest) = (fleet.passed(4..8), fleet.passed(9..13), fleet.highest());
    println!("without Redis {lost}, with it again {back}, highest level {highest:.1}");
    assert!((3_600..=4_080 + 100).contains(&lost), "the shares: {lost}");
    assert!((3_700..=4_080).contains(&back), "{back}");
    // The new server has a full bucket, and the shares are as exact as the clocks of their calls.
    assert!(highest <= f64::from(4 * BURST), "{highest}");
    let events = fleet.events.lock().expect("not poisoned");
    let lost = events.iter().filter(|it| **it == EventKind::QuotaSourceLost).count();
    assert_eq!((lost, events.len()), (4, 8), "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_stands_still_is_survived() {
    let server = RedisServer::start().await;
    let mut fleet = Fleet::start(server.port(), BURST);
    fleet.until(3).await;
    server.pause(true);
    fleet.until(7).await;
    server.pause(false);
    fleet.until(12).await;
    fleet.stop();
    let (lost, back, highest) = (fleet.passed(4..7), fleet.passed(8..12), fleet.highest());
    println!("paused {lost}, running again {back}, highest level {highest:.1}");
    assert!((2_700..=3_060).contains(&lost), "the shares: {lost}");
    assert!((3_800..=4_080).contains(&back), "{back}");
    assert!(highest <= f64::from(4 * BURST), "{highest}");
    assert!(fleet.instances.iter().all(|it| it.handle().snapshot().lost_for.is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_is_slow_holds_up_no_call() {
    let server = RedisServer::start().await;
    let proxy = SlowProxy::start(server.port(), Duration::from_millis(50)).await;
    let mut fleet = Fleet::start(proxy.port, RATE);
    fleet.until(8).await;
    fleet.stop();
    let (total, highest) = (fleet.passed(1..8), fleet.highest());
    println!(
        "slow: {total} in 7 s, highest level {highest:.1}, {} bytes",
        proxy.bytes.load(Ordering::Relaxed)
    );
    // A lease is 62 units, and an answer takes a little more than 100 ms.
    assert!((6_700..=8_000).contains(&total), "{total}");
    assert!(highest <= f64::from(RATE), "{highest}");
    assert!(fleet.instances.iter().all(|it| it.handle().snapshot().lost_for.is_none()));
    // The first question waits for a connection and its script.
    let lost = fleet.instances.iter().map(|it| it.handle().snapshot().unanswered).sum::<u64>();
    assert!(lost <= 8, "{lost}");
}

/// Delays all bytes on each way.
struct SlowProxy {
    port: u16,
    bytes: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl SlowProxy {
    async fn start(to: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let (bytes, mut tasks) = (Arc::<AtomicU64>::default(), JoinSet::new());
        let counted = Arc::clone(&bytes);
        tasks.spawn(async move {
            let mut ways = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("open");
                let server = TcpStream::connect(("127.0.0.1", to)).await.expect("it is up");
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                ways.spawn(pass(from_client, to_server, delay, Arc::clone(&counted)));
                ways.spawn(pass(from_server, to_client, delay, Arc::clone(&counted)));
            }
        });
        Self { port, bytes, _tasks: tasks }
    }
}

/// Questions follow each other slowly, so one buffer at a time is enough.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration, bytes: Arc<AtomicU64>) {
    let mut buffer = [0; 4_096];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        sleep(delay).await;
        bytes.fetch_add(u64::try_from(read).expect("small"), Ordering::Relaxed);
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
