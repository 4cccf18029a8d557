//! Numbers that change while ten thousand calls wait or are in flight.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    task::{JoinHandle, yield_now},
    time::{Instant, sleep, timeout},
};
use tower::{Layer, ServiceExt, service_fn};
use tower_reliability::{
    BoxError, Priority, Rejected, concurrency_limit::ConcurrencyLimitConfig, rate_limit::RateLimitConfig,
    wait_queue::WaitQueueConfig,
};

type Call = JoinHandle<Result<(), BoxError>>;

const CALLS: usize = 10_000;
const SEEDS: u64 = 4;
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Room and time for all calls.
const QUEUE: WaitQueueConfig = WaitQueueConfig::new().capacity(20_000).max_wait(HOUR).without_shedding();

fn any_priority(rng: &mut StdRng) -> Priority {
    Priority::ALL[rng.random_range(0..4)]
}

/// A queue with other numbers in every field, which may shed.
fn any_queue(rng: &mut StdRng) -> WaitQueueConfig {
    let mut queue = WaitQueueConfig::new()
        .capacity(rng.random_range(0..20_000))
        .max_wait(Duration::from_millis(rng.random_range(1..60_000)))
        .without_shedding();
    if rng.random_bool(0.5) {
        queue = queue.per_key(rng.random_range(1..100));
    }
    for priority in Priority::ALL {
        queue = queue.minimum_share(priority, rng.random_range(0.0..0.1));
    }
    if rng.random_bool(0.2) {
        let [target, interval] = [(); 2].map(|()| Duration::from_millis(rng.random_range(1..1_000)));
        queue = queue.shed_above(target, interval);
    }
    queue
}

/// How many calls were served and how many were rejected. Each has one of the two ends, in time.
async fn ends(calls: Vec<Call>) -> (u64, u64) {
    let (mut served, mut rejected) = (0, 0);
    for call in calls {
        let answer = timeout(Duration::from_secs(600), call).await.expect("no call is lost");
        match answer.expect("no call is admitted beyond the limit") {
            Ok(()) => served += 1,
            Err(error) => {
                assert!(error.is::<Rejected>(), "{error}");
                rejected += 1;
            }
        }
    }
    (served, rejected)
}

#[tokio::test(start_paused = true)]
async fn case_64_ten_thousand_calls_survive_every_number_of_a_concurrency_limit() {
    for seed in 0..SEEDS {
        let mut rng = StdRng::seed_from_u64(seed);
        let layer = ConcurrencyLimitConfig::new(100).queue(QUEUE).build().expect("valid");
        let layer = layer.priority(|(priority, _): &(Priority, Duration)| *priority);
        let handle = layer.handle();
        let [limit, in_flight] = [100, 0].map(|it| Arc::new(AtomicU32::new(it)));
        let (current, gauge) = (Arc::clone(&limit), Arc::clone(&in_flight));
        let service = layer.layer(service_fn(move |(_, takes): (Priority, Duration)| {
            let before = gauge.fetch_add(1, Relaxed);
            assert!(before < current.load(Relaxed), "{before} calls were in flight");
            let gauge = Arc::clone(&gauge);
            async move {
                sleep(takes).await;
                gauge.fetch_sub(1, Relaxed);
                Ok::<_, BoxError>(())
            }
        }));
        let call = |rng: &mut StdRng| -> Call {
            let takes = Duration::from_millis(rng.random_range(5..40));
            tokio::spawn(service.clone().oneshot((any_priority(rng), takes)))
        };
        let mut calls: Vec<_> = (0..CALLS).map(|_| call(&mut rng)).collect();
        for _ in 0..60 {
            sleep(Duration::from_millis(rng.random_range(5..20))).await;
            calls.extend((0..5).map(|_| call(&mut rng)));
            // Until each call that was served has noticed it.
            for _ in 0..10 {
                yield_now().await;
            }
            assert_eq!(handle.snapshot().in_flight, in_flight.load(Relaxed), "seed {seed}");
            let new = rng.random_range(1..300);
            limit.store(new, Relaxed);
            let waited = handle.snapshot().waiting;
            handle.update(ConcurrencyLimitConfig::new(new).queue(any_queue(&mut rng))).expect("valid");
            let after = handle.snapshot();
            assert!(
                after.in_flight >= new || after.waiting == 0,
                "seed {seed}: of {waited} calls that waited, {after:?}"
            );
        }
        let snapshot = handle.snapshot();
        let is_full = snapshot.waiting > 100 || snapshot.counts.rejected_shed > 100;
        assert!(is_full, "seed {seed}: calls wait to the end, or were shed");
        // Every call passes.
        limit.store(u32::MAX, Relaxed);
        let last = ConcurrencyLimitConfig::new(if seed % 2 == 0 { 1 } else { 1_000_000 });
        handle.update(last.queue(QUEUE).shadow(seed % 2 == 0)).expect("valid");
        assert_eq!(handle.snapshot().waiting, 0, "seed {seed}");
        let (all, ends) = (calls.len() as u64, ends(calls).await);
        let (snapshot, counts) = (handle.snapshot(), handle.snapshot().counts);
        let rejected =
            counts.rejected_full + counts.rejected_shed + counts.rejected_max_wait + counts.rejected_deadline;
        println!("seed {seed}: {ends:?} served and rejected");
        assert_eq!((ends.0 + ends.1, ends.1), (all, rejected), "seed {seed}");
        assert_eq!(counts.limited, counts.served + rejected, "seed {seed}");
        assert_eq!((snapshot.in_flight, snapshot.waiting, in_flight.load(Relaxed)), (0, 0, 0), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand tokens")]
async fn case_64_ten_thousand_calls_survive_every_number_of_a_rate_limit() {
    for seed in 0..SEEDS {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut rate, mut burst) = (1_000, 20);
        let layer = RateLimitConfig::per_second(rate).burst(burst).queue(QUEUE).build().expect("valid");
        let layer = layer.priority(|priority: &Priority| *priority);
        let handle = layer.handle();
        let passed = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&passed);
        let service = layer.layer(service_fn(move |_| {
            count.fetch_add(1, Relaxed);
            ready(Ok::<_, BoxError>(()))
        }));
        let call = |rng: &mut StdRng| -> Call { tokio::spawn(service.clone().oneshot(any_priority(rng))) };
        let mut calls: Vec<_> = (0..CALLS).map(|_| call(&mut rng)).collect();
        yield_now().await;
        // The tokens that there have ever been.
        let mut tokens = f64::from(burst);
        let mut since = Instant::now();
        for step in 0..60 {
            let before = passed.load(Relaxed);
            sleep(Duration::from_millis(rng.random_range(5..100))).await;
            // The call that keeps the time, and the calls that it serves, run after this task.
            for _ in 0..4 {
                yield_now().await;
            }
            let (came, now) = (f64::from(rate) * since.elapsed().as_secs_f64(), passed.load(Relaxed));
            tokens += came;
            since = Instant::now();
            assert!(f64::from(now) <= tokens + 1.0, "seed {seed}, step {step}: {now} calls, {tokens} tokens");
            let least = (came as u32).saturating_sub(2);
            assert!(
                now - before >= least || handle.snapshot().waiting == 0,
                "seed {seed}, step {step}: {} calls of {least} passed",
                now - before
            );
            calls.extend((0..5).map(|_| call(&mut rng)));
            yield_now().await;
            let new_burst = rng.random_range(5..50);
            tokens += f64::from(new_burst) - f64::from(new_burst.min(burst));
            // The step of a timer is a millisecond. In it come fewer tokens than the bucket holds.
            (rate, burst) = (rng.random_range(1..3_000), new_burst);
            let config = RateLimitConfig::per_second(rate).burst(burst).queue(any_queue(&mut rng));
            handle.update(config).expect("valid");
        }
        let snapshot = handle.snapshot();
        let is_full = snapshot.waiting > 100 || snapshot.counts.rejected_shed > 100;
        assert!(is_full, "seed {seed}: calls wait to the end, or were shed");
        let last = RateLimitConfig::per_second(1_000_000).burst(1_000_000).queue(QUEUE);
        let last =
            if seed % 2 == 0 { last.shadow(true) } else { last.window(1_000, Duration::from_millis(10)) };
        handle.update(last).expect("valid");
        let (all, ends) = (calls.len() as u64, ends(calls).await);
        let (snapshot, counts) = (handle.snapshot(), handle.snapshot().counts);
        let rejected =
            counts.rejected_full + counts.rejected_shed + counts.rejected_max_wait + counts.rejected_deadline;
        println!("seed {seed}: {ends:?} served and rejected");
        assert_eq!((ends.0 + ends.1, ends.1), (all, rejected), "seed {seed}");
        assert_eq!((counts.limited, snapshot.waiting), (counts.served + rejected, 0), "seed {seed}");
        assert_eq!(u64::from(passed.load(Relaxed)), ends.0, "seed {seed}");
    }
}
