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
const LIMIT: u32 = 50;
const TAKES: Duration = Duration::from_millis(50);
/// One every half millisecond: twice what fifty permits and fifty milliseconds allow.
const EVERY: Duration = Duration::from_micros(500);
const CALLS: u32 = 40_000;

#[tokio::test(start_paused = true)]
async fn case_30_under_twice_the_load_critical_and_high_calls_succeed_and_low_calls_make_progress() {
    let queue = WaitQueueConfig::new().capacity(200);
    let layer = ConcurrencyLimitConfig::new(LIMIT).queue(queue).build().expect("valid");
    let layer = layer.priority(|request: &Priority| *request);
    let service = layer.layer(service_fn(|_: Priority| sleep(TAKES).map(Ok::<_, BoxError>)));
    let mut rng = StdRng::seed_from_u64(SEED);
    let begin = Instant::now();
    let mut calls = Vec::new();
    for round in 0..CALLS / 4 {
        // Each class once in each round, in a random order.
        let mut order = Priority::ALL;
        (1..4).for_each(|at| order.swap(at, rng.random_range(0..=at)));
        for (at, priority) in (0..).zip(order) {
            let start = begin + EVERY * (4 * round + at);
            let mut service = service.clone();
            calls.push(tokio::spawn(async move {
                sleep_until(start).await;
                let result = service.call(priority).await;
                (priority, result.is_ok(), start.elapsed())
            }));
        }
    }
    let mut ended = Vec::new();
    for call in calls {
        ended.push(call.await.expect("no call panics"));
    }
    let mut rates = Vec::new();
    for class in Priority::ALL {
        let of_class = || ended.iter().filter(|(priority, ..)| *priority == class);
        let succeeded = of_class().filter(|(_, ok, _)| *ok).count();
        let mut waits: Vec<_> = of_class().map(|(_, _, took)| *took).collect();
        waits.sort_unstable();
        let p99 = waits[waits.len() * 99 / 100];
        #[expect(clippy::cast_precision_loss, reason = "a few thousand calls")]
        let rate = succeeded as f64 / of_class().count() as f64;
        println!("{class:?}: {:.2} % of {} succeeded, p99 {p99:?}", rate * 100.0, of_class().count());
        rates.push(rate);
    }
    println!("{:?}", layer.handle().snapshot().counts);
    assert!(rates[0] >= 0.999 && rates[1] >= 0.99, "seed {SEED}: {rates:?}");
    assert!(rates[3] > 0.0, "seed {SEED}: low calls make no progress");
    assert_eq!((layer.handle().snapshot().in_flight, layer.handle().snapshot().waiting), (0, 0));
}
