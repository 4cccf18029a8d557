//! Balancers over twenty simulated endpoints, some of which falter, on a paused clock: ours beside tower's and beside plain
//! round robin. `cargo nextest run --test it balance_simulation --no-capture` prints the tables.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tower::{
    Service, ServiceExt,
    balance::p2c,
    buffer::Buffer,
    discover::ServiceList,
    load::{CompleteOnResponse, PeakEwmaDiscover, PendingRequestsDiscover},
    service_fn,
    util::BoxCloneSyncService,
};
use tower_reliability::{
    BoxError, BoxErrorClassifier,
    balance::{Balance, BalanceConfig, BuiltIn},
};

const ENDPOINTS: usize = 20;
const MILLI: Duration = Duration::from_millis(1);

/// An endpoint with workers that take the calls in the order of their arrival.
#[derive(Clone)]
struct Endpoint(Arc<Mutex<Workers>>);

struct Workers {
    /// When each worker is free.
    free: BinaryHeap<Reverse<Instant>>,
    time: ServiceTime,
    slower: u32,
    /// Fails each call after 1 ms.
    fails: bool,
    is_down: bool,
    random: StdRng,
}

#[derive(Clone, Copy)]
enum ServiceTime {
    /// 8 to 12 ms.
    Even,
    /// 10 ms in the mean, with an exponential distribution.
    Exponential,
}

impl Endpoint {
    fn new(workers: usize, time: ServiceTime, seed: u64) -> Self {
        let free = (0..workers).map(|_| Reverse(Instant::now())).collect();
        let random = StdRng::seed_from_u64(seed);
        Self(Arc::new(Mutex::new(Workers { free, time, slower: 1, fails: false, is_down: false, random })))
    }

    fn set(&self, change: impl FnOnce(&mut Workers)) {
        change(&mut self.0.lock().expect("no panic"));
    }
}

impl Service<()> for Endpoint {
    type Response = ();
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        let now = Instant::now();
        let mut workers = self.0.lock().expect("no panic");
        if workers.is_down {
            return Box::pin(async { Err("the endpoint is down".into()) });
        }
        if workers.fails {
            return Box::pin(async move {
                sleep_until(now + MILLI).await;
                Err("the endpoint fails".into())
            });
        }
        let takes = match workers.time {
            ServiceTime::Even => 10 * MILLI.mul_f64(workers.random.random_range(0.8..1.2)),
            ServiceTime::Exponential => 10 * MILLI.mul_f64(-(1.0 - workers.random.random::<f64>()).ln()),
        };
        let Reverse(free) = workers.free.pop().expect("an endpoint has workers");
        let ends = free.max(now) + takes * workers.slower;
        workers.free.push(Reverse(ends));
        Box::pin(async move {
            sleep_until(ends).await;
            Ok(())
        })
    }
}

type Client = BoxCloneSyncService<(), (), BoxError>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Ours,
    TowerPeakEwma,
    TowerPending,
    RoundRobin,
}

const KINDS: [Kind; 4] = [Kind::Ours, Kind::TowerPeakEwma, Kind::TowerPending, Kind::RoundRobin];

fn ours(config: BalanceConfig, endpoints: &[Endpoint]) -> Balance<usize, Endpoint, BoxErrorClassifier> {
    let builder = config.build().expect("valid").classify(BoxErrorClassifier).seed(12);
    builder.endpoints(0..endpoints.len(), |key| endpoints[*key].clone())
}

fn client(kind: Kind, endpoints: &[Endpoint]) -> Client {
    let list = || ServiceList::new(endpoints.to_vec());
    match kind {
        Kind::Ours => BoxCloneSyncService::new(ours(BalanceConfig::new(), endpoints)),
        Kind::TowerPeakEwma => {
            // The decay of ours, and the latency of a healthy endpoint to begin with.
            let discover =
                PeakEwmaDiscover::new(list(), 10 * MILLI, 10_000 * MILLI, CompleteOnResponse::default());
            BoxCloneSyncService::new(Buffer::new(p2c::Balance::new(discover), 10_000))
        }
        Kind::TowerPending => {
            let discover = PendingRequestsDiscover::new(list(), CompleteOnResponse::default());
            BoxCloneSyncService::new(Buffer::new(p2c::Balance::new(discover), 10_000))
        }
        Kind::RoundRobin => {
            let (endpoints, next) = (endpoints.to_vec(), Arc::new(AtomicUsize::new(0)));
            BoxCloneSyncService::new(service_fn(move |()| {
                endpoints[next.fetch_add(1, Ordering::Relaxed) % endpoints.len()].clone().oneshot(())
            }))
        }
    }
}

/// A call: the time since the begin of the load, its duration, and whether it has failed.
#[derive(Clone, Copy)]
struct Sample {
    at: Duration,
    took: Duration,
    failed: bool,
}

/// Sends calls at random times for so long, and waits for the end of all.
async fn load(client: Client, per_second: u32, time: Duration, seed: u64) -> Vec<Sample> {
    let mut random = StdRng::seed_from_u64(seed);
    let (begin, mut calls) = (Instant::now(), JoinSet::new());
    let mut at = Duration::ZERO;
    while at < time {
        sleep_until(begin + at).await;
        let client = client.clone();
        calls.spawn(async move {
            let start = Instant::now();
            let failed = client.oneshot(()).await.is_err();
            Sample { at: start - begin, took: start.elapsed(), failed }
        });
        at += Duration::from_secs(1).mul_f64(-(1.0 - random.random::<f64>()).ln() / f64::from(per_second));
    }
    calls.join_all().await
}

/// This quantile of the durations in milliseconds.
fn quantile(samples: &[Sample], quantile: f64) -> f64 {
    let mut took: Vec<Duration> = samples.iter().map(|sample| sample.took).collect();
    took.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let at = (took.len() as f64 * quantile) as usize;
    took[at.min(took.len() - 1)].as_secs_f64() * 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn error_share(samples: &[Sample]) -> f64 {
    samples.iter().filter(|sample| sample.failed).count() as f64 / samples.len() as f64
}

fn endpoints(workers: usize, time: ServiceTime) -> Vec<Endpoint> {
    (0..ENDPOINTS).map(|at| Endpoint::new(workers, time, at as u64)).collect()
}

#[tokio::test(start_paused = true)]
async fn case_47_one_slow_endpoint_of_twenty_does_not_show_in_the_tail() {
    println!("one of 20 endpoints 50 x slow: p99 and p99.9 in ms, before and after the fault");
    for (per_second, seconds) in [(200, 40), (1_000, 15), (5_000, 4)] {
        for kind in KINDS {
            let endpoints = endpoints(1_000, ServiceTime::Even);
            let (client, half) = (client(kind, &endpoints), Duration::from_secs(seconds));
            let slow = endpoints[7].clone();
            tokio::spawn(async move {
                tokio::time::sleep(half).await;
                slow.set(|it| it.slower = 50);
            });
            let samples = load(client, per_second, 2 * half, 1).await;
            let (before, after): (Vec<Sample>, Vec<Sample>) = samples.iter().partition(|it| it.at < half);
            let of = |samples: &[Sample]| [quantile(samples, 0.99), quantile(samples, 0.999)];
            let (before, after) = (of(&before), of(&after));
            println!("{per_second:>5}/s {:<14} {before:>8.1?} {after:>8.1?}", format!("{kind:?}"));
            if kind == Kind::Ours {
                assert!(after.iter().zip(before).all(|(after, before)| *after <= 1.05 * before));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn case_48_an_endpoint_that_fails_fast_costs_hardly_any_call() {
    println!("one of 20 endpoints fails in 1 ms: share of errors in 15 s at 1000/s");
    for kind in KINDS {
        let endpoints = endpoints(1_000, ServiceTime::Even);
        endpoints[7].set(|it| it.fails = true);
        let share = error_share(&load(client(kind, &endpoints), 1_000, Duration::from_secs(15), 2).await);
        println!("{:<14} {:.3} %", format!("{kind:?}"), 100.0 * share);
        match kind {
            Kind::Ours => assert!(share <= 0.001),
            _ => assert!(share > 0.04, "the peers send calls to it"),
        }
    }
    for strategy in [BuiltIn::RoundRobin, BuiltIn::LeastConnections] {
        let endpoints = endpoints(1_000, ServiceTime::Even);
        endpoints[7].set(|it| it.fails = true);
        let client = BoxCloneSyncService::new(ours(BalanceConfig::new().strategy(strategy), &endpoints));
        let share = error_share(&load(client, 1_000, Duration::from_secs(15), 2).await);
        println!("ours, {strategy:?}: {:.3} %", 100.0 * share);
        assert!(share <= 0.001, "the ejection finds it");
    }
}

#[tokio::test(start_paused = true)]
async fn four_endpoints_of_half_the_speed_get_fewer_calls() {
    println!("four of 20 endpoints 2 x slow, four workers each, at 70 %: p50, p99, p99.9 in ms");
    let mut tails = Vec::new();
    for kind in KINDS {
        let endpoints = endpoints(4, ServiceTime::Exponential);
        for it in &endpoints[..4] {
            it.set(|it| it.slower = 2);
        }
        // Of 16 x 400 and 4 x 200 calls per second.
        let samples = load(client(kind, &endpoints), 5_040, Duration::from_secs(8), 3).await;
        let settled: Vec<Sample> = samples.into_iter().filter(|it| it.at > Duration::from_secs(2)).collect();
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|it| quantile(&settled, it));
        println!("{:<14} {p50:>8.1} {p99:>8.1} {p999:>8.1}", format!("{kind:?}"));
        tails.push(p99);
    }
    assert!(tails[1..].iter().all(|tail| tails[0] <= 1.05 * tail), "{tails:?}");
}

#[tokio::test(start_paused = true)]
async fn case_46_a_rolling_restart_of_all_endpoints_fails_no_call() {
    let endpoints = endpoints(1_000, ServiceTime::Even);
    let balance = ours(BalanceConfig::new(), &endpoints);
    let handle = balance.handle();
    let restart = tokio::spawn(async move {
        for (key, old) in endpoints.into_iter().enumerate() {
            tokio::time::sleep(500 * MILLI).await;
            let new = Endpoint::new(1_000, ServiceTime::Even, 100 + key as u64);
            handle.insert(key, new).drained().await;
            old.set(|it| it.is_down = true);
        }
        handle.snapshot()
    });
    let samples = load(BoxCloneSyncService::new(balance), 1_000, Duration::from_secs(15), 4).await;
    let state = restart.await.expect("no panic");
    println!("rolling restart: {} calls, {} failed", samples.len(), error_share(&samples));
    assert!(error_share(&samples) <= 0.0 && state.endpoints.iter().all(|it| it.failed == 0));
    assert!(quantile(&samples, 0.999) < 15.0);
}
