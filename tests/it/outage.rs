//! The load of retries on a backend that falters: a server with a queue, its clients, ten bad seconds on a paused clock.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fmt,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep_until};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt,
    layer::util::Identity,
    retry::budget::TpsBudget,
    service_fn,
    util::{BoxCloneSyncService, Either},
};
use tower_reliability::{
    Error, ErrorClass, Outcome,
    circuit_breaker::CircuitBreakerConfig,
    retry::RetryConfig,
    retry_budget::{RetryBudget, RetryBudgetConfig},
    timeout::TimeoutConfig,
};

/// The server of the crate's reference: 16 workers, first come first served, 10 ms a request: 1 600 a second.
struct Server {
    began: Instant,
    /// When each worker is free.
    free: Mutex<BinaryHeap<Reverse<Instant>>>,
    rng: Mutex<StdRng>,
    /// Requests by the second of their arrival.
    reached: Mutex<Vec<u32>>,
    fault: Fault,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// Four times as slow for ten seconds.
    Outage,
    /// This share of the requests fails, at any time.
    Random(f64),
}

#[derive(Clone, Copy, Debug)]
struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

impl Server {
    fn start(fault: Fault) -> Arc<Self> {
        let began = Instant::now();
        Arc::new(Self {
            began,
            free: Mutex::new((0..16).map(|_| Reverse(began)).collect()),
            rng: Mutex::new(StdRng::seed_from_u64(11)),
            reached: Mutex::default(),
            fault,
        })
    }

    /// The server works off a request even after its client has left, as servers do.
    fn answer(&self) -> impl Future<Output = Result<(), Error<Broken>>> + Send + use<> {
        let now = Instant::now();
        bump(&self.reached, (now - self.began).as_secs());
        let fails = match self.fault {
            Fault::Random(share) => self.rng.lock().expect("no thread panics with it").random_bool(share),
            Fault::Outage => false,
        };
        let mut free = self.free.lock().expect("no thread panics with it");
        let Reverse(worker) = free.pop().expect("there are sixteen");
        let start = worker.max(now);
        let slow =
            self.fault == Fault::Outage && (OUTAGE_FROM..OUTAGE_TO).contains(&(start - self.began).as_secs());
        let done = start + Duration::from_millis(if slow { 40 } else { 10 });
        free.push(Reverse(done));
        async move {
            sleep_until(done).await;
            if fails { Err(Error::Inner(Broken)) } else { Ok(()) }
        }
    }
}

fn bump(counts: &Mutex<Vec<u32>>, second: u64) {
    let (mut counts, second) =
        (counts.lock().expect("no thread panics with it"), usize::try_from(second).expect("small"));
    if counts.len() <= second {
        counts.resize(second + 1, 0);
    }
    counts[second] += 1;
}

/// The limit on retries.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Budget {
    NoRetries,
    Unlimited,
    /// tower's, with its own defaults.
    Tower,
    /// This crate's, with its defaults.
    Ours,
    /// This crate's, around a breaker.
    OursAndBreaker,
}

type Client = BoxCloneSyncService<(), (), Error<Broken>>;

fn client(server: &Arc<Server>, budget: Budget, seed: u64) -> Client {
    let attempts = if budget == Budget::NoRetries { 1 } else { 3 };
    let limit = match budget {
        Budget::Tower => RetryBudget::of(TpsBudget::default()),
        Budget::Ours | Budget::OursAndBreaker => RetryBudgetConfig::new().build().expect("valid"),
        Budget::NoRetries | Budget::Unlimited => RetryBudget::unlimited(),
    };
    let classify = |result: Result<&(), &Error<Broken>>| match result {
        Ok(()) => Outcome::Success,
        Err(Error::Inner(Broken)) => Outcome::failure(ErrorClass::Server),
        Err(Error::Rejected(rejected)) => rejected.outcome(),
    };
    let retry = RetryConfig::new()
        .max_attempts(attempts)
        .build()
        .expect("valid")
        .classify(classify)
        .budget(limit)
        .seed(seed);
    // Open periods without jitter or growth, so that every run is the same.
    let breaker = CircuitBreakerConfig::new()
        .open_multiplier(1.0)
        .open_jitter(0.0)
        .build()
        .expect("valid")
        .classify(classify);
    let breaker =
        if budget == Budget::OursAndBreaker { Either::Left(breaker) } else { Either::Right(Identity::new()) };
    let server = Arc::clone(server);
    BoxCloneSyncService::new(
        ServiceBuilder::new()
            .layer(retry)
            .layer(breaker)
            .layer(TimeoutConfig::new(Duration::from_millis(100)).build().expect("valid"))
            .service(service_fn(move |()| server.answer())),
    )
}

/// The counts of a run, by second.
struct Run {
    asked: Vec<u32>,
    good: Vec<u32>,
    reached: Vec<u32>,
}

/// Sends 1 200 requests a second from that many clients.
fn run(fault: Fault, budget: Budget, clients: u32, seconds: u64) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async move {
        let server = Server::start(fault);
        let mut clients: Vec<_> = (0..clients).map(|n| client(&server, budget, u64::from(n))).collect();
        let mut rng = StdRng::seed_from_u64(5);
        let good = Arc::<Mutex<Vec<u32>>>::default();
        let asked = Mutex::<Vec<u32>>::default();
        let mut calls = tokio::task::JoinSet::new();
        for n in 0..RATE * u32::try_from(seconds).expect("small") {
            sleep_until(server.began + Duration::from_secs(1) / RATE * n).await;
            let second = server.began.elapsed().as_secs();
            bump(&asked, second);
            let at = rng.random_range(0..clients.len());
            let call = clients[at].ready().await.expect("it is").call(());
            let good = Arc::clone(&good);
            calls.spawn(async move {
                if call.await.is_ok() {
                    bump(&good, second);
                }
            });
            while calls.try_join_next().is_some() {}
        }
        calls.join_all().await;
        let take = |counts: &Mutex<Vec<u32>>| {
            let mut counts = counts.lock().expect("no thread panics with it").clone();
            counts.resize(usize::try_from(seconds).expect("small"), 0);
            counts
        };
        Run { asked: take(&asked), good: take(&good), reached: take(&server.reached) }
    })
}

impl Run {
    /// The seconds after the outage until at least 99 % of the requests succeed for good.
    fn recovered_after(&self) -> Option<usize> {
        let last_bad = (0..self.asked.len())
            .rev()
            .find(|second| f64::from(self.good[*second]) < 0.99 * f64::from(self.asked[*second]));
        let from = last_bad.map_or(0, |second| second + 1);
        (from < self.asked.len()).then(|| from.saturating_sub(usize::try_from(OUTAGE_TO).expect("small")))
    }

    /// Attempts per request in the five seconds from `second` on.
    fn attempts(&self, second: usize) -> f64 {
        let sum = |counts: &[u32]| f64::from(counts[second..second + 5].iter().sum::<u32>());
        sum(&self.reached) / sum(&self.asked)
    }

    fn success(&self) -> f64 {
        f64::from(self.good.iter().sum::<u32>()) / f64::from(self.asked.iter().sum::<u32>())
    }
}

const RATE: u32 = 1_200;
const OUTAGE_FROM: u64 = 5;
const OUTAGE_TO: u64 = 15;
/// The outage, and 35 s after it.
const LONG: u64 = 50;
const SHORT: u64 = 40;

#[test]
fn case_37_retries_do_not_keep_a_backend_down() {
    println!("75 % load, 10 s at a quarter of the speed, attempts of at most 100 ms, up to 3 of them");
    println!(
        "| budget | clients | attempts per request, first 5 s | then | recovered after | success at 15 % random failures |"
    );
    println!("|---|---:|---:|---:|---:|---:|");
    let rows = [
        (Budget::NoRetries, 1),
        (Budget::Unlimited, 1),
        (Budget::Tower, 1),
        (Budget::Tower, 20),
        (Budget::Ours, 1),
        (Budget::Ours, 20),
        (Budget::Ours, 100),
        (Budget::OursAndBreaker, 1),
        (Budget::OursAndBreaker, 20),
        (Budget::OursAndBreaker, 100),
    ];
    let next = AtomicU32::new(0);
    let measured = Mutex::new(vec![None; rows.len()]);
    // Two at a time: each has a runtime and a clock of its own.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((budget, clients)) = rows.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let at =
                        rows.iter().position(|row| row == &(*budget, *clients)).expect("it is one of them");
                    let outage = run(Fault::Outage, *budget, *clients, LONG);
                    let random = run(Fault::Random(0.15), *budget, *clients, SHORT);
                    let row =
                        (outage.attempts(5), outage.attempts(10), outage.recovered_after(), random.success());
                    measured.lock().expect("no thread panics with it")[at] = Some(row);
                }
            });
        }
    });
    let measured = measured.into_inner().expect("no thread panics with it");
    for ((budget, clients), row) in rows.into_iter().zip(measured) {
        let (first, attempts, recovered, success) = row.expect("every row was measured");
        let after = recovered.map_or("not within 35 s".into(), |seconds| format!("{seconds} s"));
        println!(
            "| {budget:?} | {clients} | {first:.3} | {attempts:.3} | {after} | {:.2} % |",
            success * 100.0
        );
        match budget {
            Budget::Ours => {
                assert!(first <= 1.10, "{clients} clients: {first} attempts per request at first");
                assert!(attempts <= 1.10, "{clients} clients: {attempts} attempts per request");
                assert!(recovered.is_some_and(|seconds| seconds <= 30), "{clients} clients: {recovered:?}");
                assert!(success >= 0.995, "{clients} clients: {success}");
            }
            Budget::OursAndBreaker => {
                assert!(recovered.is_some_and(|seconds| seconds <= 8), "{clients} clients: {recovered:?}");
                assert!(success >= 0.995, "{clients} clients: {success}");
            }
            Budget::Unlimited => assert!(recovered.is_none(), "else this outage shows nothing"),
            Budget::NoRetries | Budget::Tower => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn case_37_a_storm_of_failures_gets_the_ratio_of_retries_and_no_more() {
    for share in [1.0, 0.5] {
        let reached = Arc::new(AtomicU32::new(0));
        let mut rng = StdRng::seed_from_u64(3);
        let counter = Arc::clone(&reached);
        let failing = service_fn(move |fails: bool| {
            counter.fetch_add(1, Ordering::Relaxed);
            async move { if fails { Err(Error::Inner(Broken)) } else { Ok(()) } }
        });
        let budget = RetryBudgetConfig::new().without_health_gate().build().expect("valid");
        let retry = RetryConfig::fixed(Duration::ZERO).build().expect("valid").budget(budget);
        let retry = retry.classify(|result: Result<&(), &Error<Broken>>| match result {
            Ok(()) => Outcome::Success,
            Err(_) => Outcome::failure(ErrorClass::Server),
        });
        let mut service = retry.layer(failing);
        for _ in 0..60_000 {
            tokio::time::advance(Duration::from_millis(1)).await;
            let _ = service.ready().await.expect("it is").call(rng.random_bool(share)).await;
        }
        let attempts = reached.load(Ordering::Relaxed);
        assert!(
            (71_900..=72_010).contains(&attempts),
            "{attempts} attempts for 60 000 requests of which {share} fail"
        );
    }
}
