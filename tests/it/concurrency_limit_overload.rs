//! Twice the calls that a limit can take, a quarter of them of each class, on a paused clock.

use std::time::Duration;

use futures::FutureExt;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep, sleep_until};
use tower::{Layer, Service, service_fn};
use tower_reliability::{
    BoxError, Priority, concurrency_limit::ConcurrencyLimitConfig, wait_queue::WaitQueueConfig,
};

const SEED: u64 = 1;
/// Of the random loads. Their critical and high calls are up to a percent above or below what fits.
const SEEDS: u32 = 4;
const LIMIT: u32 = 50;
const TAKES: Duration = Duration::from_millis(50);
/// One every half millisecond: twice what fifty permits and fifty milliseconds allow.
const EVERY: Duration = Duration::from_micros(500);
const CALLS: u32 = 40_000;

pub(crate) struct Call {
    pub(crate) priority: Priority,
    start: Instant,
    takes: Duration,
}

/// One call of each class in each round, in a random order.
pub(crate) fn even_calls(rng: &mut StdRng) -> Vec<Call> {
    let begin = Instant::now();
    let rounds = (0..CALLS / 4).flat_map(|_| {
        let mut order = Priority::ALL;
        (1..4).for_each(|at| order.swap(at, rng.random_range(0..=at)));
        order
    });
    (0..)
        .zip(rounds)
        .map(|(at, priority)| Call { priority, start: begin + EVERY * at, takes: TAKES })
        .collect()
}

/// Random classes, gaps and durations, the last two with exponential distributions.
pub(crate) fn random_calls(rng: &mut StdRng) -> Vec<Call> {
    let mut start = Instant::now();
    let around = |rng: &mut StdRng, mean: Duration| mean.mul_f64(-(1.0 - rng.random::<f64>()).ln());
    (0..CALLS)
        .map(|_| {
            start += around(rng, EVERY);
            Call { priority: Priority::ALL[rng.random_range(0..4)], start, takes: around(rng, TAKES) }
        })
        .collect()
}

/// Takes the time that the call says.
pub(crate) fn backend()
-> impl Service<Call, Response = (), Error = BoxError, Future: Send> + Clone + Send + 'static {
    service_fn(|call: Call| sleep(call.takes).map(Ok::<_, BoxError>))
}

/// Sends the calls to such a limit. Returns the ratio of successes by class, in the order of `Priority::ALL`.
async fn run(name: &str, queue: WaitQueueConfig, calls: Vec<Call>) -> [f64; 4] {
    let layer = ConcurrencyLimitConfig::new(LIMIT).queue(queue).build().expect("valid");
    let layer = layer.priority(|call: &Call| call.priority);
    let rates = send(name, layer.layer(backend()), calls).await;
    let snapshot = layer.handle().snapshot();
    assert_eq!((snapshot.in_flight, snapshot.waiting), (0, 0));
    rates
}

/// Prints what became of the calls. Returns the ratio of successes by class, in the order of `Priority::ALL`.
pub(crate) async fn send<S>(name: &str, service: S, calls: Vec<Call>) -> [f64; 4]
where
    S: Service<Call, Response = (), Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    let calls: Vec<_> = calls
        .into_iter()
        .map(|call| {
            let (mut service, priority, start, takes) =
                (service.clone(), call.priority, call.start, call.takes);
            tokio::spawn(async move {
                sleep_until(start).await;
                let succeeded = service.call(call).await.is_ok();
                let served = if succeeded { takes } else { Duration::ZERO };
                (priority, succeeded, start.elapsed().saturating_sub(served))
            })
        })
        .collect();
    let mut ended = Vec::new();
    for call in calls {
        ended.push(call.await.expect("no call panics"));
    }
    Priority::ALL.map(|class| {
        let of_class = || ended.iter().filter(|(priority, ..)| *priority == class);
        let mut waits: Vec<_> = of_class().map(|(.., waited)| *waited).collect();
        waits.sort_unstable();
        let succeeded = of_class().filter(|(_, succeeded, _)| *succeeded).count();
        #[expect(clippy::cast_precision_loss, reason = "a few thousand calls")]
        let rate = succeeded as f64 / waits.len() as f64;
        let p99 = waits[waits.len() * 99 / 100].as_millis();
        println!("{name}, {class:?}: {:.2} % succeeded, p99 of the wait {p99} ms", rate * 100.0);
        rate
    })
}

#[tokio::test(start_paused = true)]
async fn case_30_under_twice_the_load_critical_and_high_calls_succeed_and_low_calls_make_progress() {
    let calls = even_calls(&mut StdRng::seed_from_u64(SEED));
    let rates = run("even calls", WaitQueueConfig::new(), calls).await;
    assert!(rates[0] >= 0.999 && rates[1] >= 0.99 && rates[3] > 0.0, "seed {SEED}: {rates:?}");
}

#[tokio::test(start_paused = true)]
async fn case_30_under_a_random_load_high_calls_that_just_fit_succeed() {
    let mut sums = [0.0; 4];
    for seed in 1..=SEEDS {
        let calls = random_calls(&mut StdRng::seed_from_u64(seed.into()));
        let rates = run(&format!("random calls, seed {seed}"), WaitQueueConfig::new(), calls).await;
        assert!(rates[0] >= 0.999 && rates[1] >= 0.99 && rates[3] > 0.0, "seed {seed}: {rates:?}");
        (0..4).for_each(|class| sums[class] += rates[class]);
    }
    let mean = sums.map(|sum| sum / f64::from(SEEDS));
    println!("mean of {SEEDS} seeds: {mean:?}");
    assert!(mean[0] >= 0.999 && mean[1] >= 0.99 && mean[3] > 0.0, "{mean:?}");
}

#[tokio::test(start_paused = true)]
async fn case_30_shedding_trades_successes_of_a_class_that_just_fits_for_shorter_waits() {
    let max_wait = |millis| WaitQueueConfig::new().max_wait(Duration::from_millis(millis));
    let mut high = Vec::new();
    for (name, queue) in [
        ("max_wait 200 ms", max_wait(200)),
        ("max_wait 400 ms", max_wait(400)),
        ("default", WaitQueueConfig::new()),
        ("without shedding", WaitQueueConfig::new().without_shedding()),
    ] {
        let rates = run(name, queue, random_calls(&mut StdRng::seed_from_u64(SEED))).await;
        assert!(rates[0] >= 0.999 && rates[3] > 0.0, "seed {SEED}, {name}: {rates:?}");
        high.push(rates[1]);
    }
    assert!(high[0] > 0.95 && high.is_sorted() && high[2] > 0.99, "seed {SEED}: {high:?}");
}
