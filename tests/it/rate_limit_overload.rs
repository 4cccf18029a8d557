//! Twice the calls that a rate allows, a quarter of them of each class, on a paused clock.

use std::time::Duration;

use rand::{SeedableRng, rngs::StdRng};
use tower::Layer;
use tower_reliability::{Priority, rate_limit::RateLimitConfig, wait_queue::WaitQueueConfig};

use crate::concurrency_limit_overload::{Call, backend, even_calls, random_calls, send};

/// Half of the calls of the load.
const RATE: u32 = 1_000;
/// Few: a large burst would serve the overload for a while.
const BURST: u32 = 50;
const SEEDS: u64 = 3;

/// Sends the calls to such a limit. Returns the ratio of successes by class, in the order of `Priority::ALL`.
async fn run(name: &str, queue: WaitQueueConfig, calls: Vec<Call>) -> [f64; 4] {
    let config = RateLimitConfig::per_second(RATE).burst(BURST).queue(queue);
    let layer = config.build().expect("valid").priority(|call: &Call| call.priority);
    let rates = send(name, layer.layer(backend()), calls).await;
    let snapshot = layer.handle().snapshot();
    let counts = snapshot.counts;
    let refused = counts.rejected_full + counts.rejected_max_wait + counts.rejected_shed;
    assert_eq!((snapshot.waiting, counts.limited), (0, counts.served + refused), "{name}");
    rates
}

/// Calls that wait for their exact turn, and the queue of the concurrency limit, which sheds.
fn queues() -> [(&'static str, WaitQueueConfig); 2] {
    let second = Duration::from_secs(1);
    [
        ("without shedding", WaitQueueConfig::new().max_wait(second).without_shedding()),
        ("with shedding", WaitQueueConfig::new()),
    ]
}

#[tokio::test(start_paused = true)]
async fn case_30_at_twice_the_rate_critical_and_high_calls_succeed_and_low_calls_make_progress() {
    for (name, queue) in queues() {
        let calls = even_calls(&mut StdRng::seed_from_u64(1));
        let rates = run(&format!("even calls, {name}"), queue, calls).await;
        assert!(rates[0] >= 0.999 && rates[1] >= 0.99 && rates[3] > 0.0, "{name}: {rates:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn case_30_at_twice_the_rate_at_random_high_calls_that_just_fit_succeed() {
    for (name, queue) in queues() {
        for seed in 1..=SEEDS {
            let calls = random_calls(&mut StdRng::seed_from_u64(seed));
            let rates = run(&format!("random calls, {name}, seed {seed}"), queue, calls).await;
            assert!(
                rates[0] >= 0.999 && rates[1] >= 0.99 && rates[3] > 0.0,
                "{name}, seed {seed}: {rates:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn case_30_a_larger_share_serves_more_low_calls_and_no_critical_call_less() {
    let mut low = Vec::new();
    for share in [0.0, 0.001, 0.05] {
        let queue = WaitQueueConfig::new().without_shedding().minimum_share(Priority::Low, share);
        let calls = even_calls(&mut StdRng::seed_from_u64(1));
        let rates = run(&format!("a share of {share}"), queue, calls).await;
        assert!(rates[0] >= 0.999, "{rates:?}");
        low.push(rates[3]);
    }
    // A share of 0.05 of all served calls is a tenth of the low calls, which are a quarter of twice the rate.
    assert!(low.is_sorted() && (0.09..0.11).contains(&low[2]), "{low:?}");
}
