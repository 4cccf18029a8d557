//! An adaptive rate and a provider whose quota changes: 100 calls per second, then 30, then 100. On a paused clock.
//!
//! `cargo test --test it quota_that_changes -- --nocapture` prints the table.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, sleep, sleep_until};
use tower::{Layer, ServiceExt, service_fn};
use tower_reliability::{
    Error, ErrorClass, Outcome,
    rate_limit::{
        RateLimitConfig,
        adaptive::{AdaptiveRateConfig, Recovery},
    },
};

const SECOND: Duration = Duration::from_secs(1);
/// The quota of each minute, in calls per second.
const QUOTAS: [f64; 3] = [100.0, 30.0, 100.0];
/// The calls per second that the client wants to make.
const DEMAND: u64 = 200;

/// A token bucket of ten calls, in front of a backend that takes 20 ms.
struct Provider {
    began: Instant,
    bucket: Mutex<Bucket>,
    /// `Retry-After` of its refusals.
    hint: Option<Duration>,
}

#[derive(Default)]
struct Bucket {
    taken: f64,
    at: Duration,
    served: u64,
    refused: u64,
    /// The calls that were served in each minute.
    by_minute: [u64; 3],
}

#[derive(Clone, Copy, Debug)]
struct Refused(Option<Duration>);

impl Provider {
    async fn answer(self: Arc<Self>) -> Result<(), Error<Refused>> {
        sleep(Duration::from_millis(10)).await;
        let takes = self.take();
        sleep(Duration::from_millis(10)).await;
        if takes { Ok(()) } else { Err(Error::Inner(Refused(self.hint))) }
    }

    fn take(&self) -> bool {
        let at = self.began.elapsed();
        let minute = usize::try_from(at.as_secs() / 60).expect("three minutes").min(2);
        let mut bucket = self.bucket.lock().expect("no panic");
        let refill = at.saturating_sub(bucket.at).as_secs_f64() * QUOTAS[minute];
        (bucket.taken, bucket.at) = ((bucket.taken - refill).max(0.0), at);
        let takes = bucket.taken + 1.0 <= 10.0;
        if takes {
            bucket.taken += 1.0;
            bucket.served += 1;
            bucket.by_minute[minute] += 1;
        } else {
            bucket.refused += 1;
        }
        takes
    }
}

/// The shares of the quota that the client used and of its calls that were refused, in percent; and the used share of
/// each minute.
#[derive(Debug)]
struct Row {
    used: f64,
    refused: f64,
    by_minute: [f64; 3],
}

async fn run(name: &str, config: RateLimitConfig, hint: Option<Duration>) -> Row {
    let layer =
        config.build().expect("valid").classify(|result: Result<&(), &Error<Refused>>| match result {
            Ok(()) => Outcome::Success,
            Err(Error::Inner(Refused(hint))) => {
                let outcome = Outcome::failure(ErrorClass::RateLimit);
                hint.map_or(outcome, |hint| outcome.retry_after(hint))
            }
            Err(Error::Rejected(rejected)) => rejected.outcome(),
        });
    let provider = Arc::new(Provider { began: Instant::now(), bucket: Mutex::default(), hint });
    let service = {
        let provider = Arc::clone(&provider);
        layer.layer(service_fn(move |()| Arc::clone(&provider).answer()))
    };
    let mut calls = FuturesUnordered::new();
    for n in 0..DEMAND * 180 {
        let due = sleep_until(provider.began + SECOND * u32::try_from(n).expect("few") / 200);
        tokio::pin!(due);
        loop {
            tokio::select! {
                biased;
                () = &mut due => break,
                Some(_) = calls.next() => {}
            }
        }
        calls.push(service.clone().oneshot(()));
    }
    while calls.next().await.is_some() {}
    let bucket = provider.bucket.lock().expect("no panic");
    let share = |part: u64, whole: f64| 100.0 * f64::from(u32::try_from(part).expect("few")) / whole;
    let sent = f64::from(u32::try_from(bucket.served + bucket.refused).expect("few"));
    let row = Row {
        used: share(bucket.served, QUOTAS.iter().sum::<f64>() * 60.0),
        refused: share(bucket.refused, sent),
        by_minute: [0, 1, 2].map(|minute| share(bucket.by_minute[minute], QUOTAS[minute] * 60.0)),
    };
    let [first, second, third] = row.by_minute;
    println!(
        "| {name:<34} | {:5.1} % | {first:5.1} % | {second:5.1} % | {third:5.1} % | {:5.2} % |",
        row.used, row.refused
    );
    row
}

#[tokio::test(start_paused = true)]
async fn case_35_an_adaptive_rate_follows_a_quota_that_changes() {
    println!("| limit                              | quota   | 100/s   | 30/s    | 100/s   | refused |");
    let fixed = |calls| RateLimitConfig::per_second(calls).burst(1);
    let high = run("fixed, 100/s", fixed(100), None).await;
    let low = run("fixed, 30/s", fixed(30), None).await;
    assert!(high.refused > 15.0 && low.used < 45.0, "the test has a choice to make");
    let adaptive = |numbers: AdaptiveRateConfig| fixed(50).adaptive(numbers.ceiling(200).floor(1));
    let numbers = AdaptiveRateConfig::new;
    for (name, limit, hint, least) in [
        ("adaptive", adaptive(numbers()), None, 88.0),
        ("adaptive, `Retry-After: 1`", adaptive(numbers()), Some(SECOND), 75.0),
        ("adaptive within 10 s", adaptive(numbers().recover_within(10 * SECOND)), None, 80.0),
        ("adaptive, additive", adaptive(numbers().recovery(Recovery::Additive)), None, 80.0),
        ("adaptive, ceiling 100/s", fixed(100).adaptive(numbers()), None, 88.0),
    ] {
        let row = run(name, limit, hint).await;
        assert!(row.used >= least && row.refused <= 1.0, "{name}: {row:?}");
        assert!(row.by_minute.iter().all(|used| *used >= 70.0), "{name}: {row:?}");
    }
}
