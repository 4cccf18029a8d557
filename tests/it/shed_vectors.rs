//! The vectors of other implementations about overload that a fixed limit with a queue can meet.
//!
//! `tests/vectors/shed.json` holds them with their sources. Left out are vectors of rules that this crate does not have:
//!
//! - `shed.priority`: five classes of a hundred levels each; ours are four classes, and within a class age decides;
//! - `shed.dagor`, "overload step": a limit that an overload lowers by a twentieth; a fixed limit stays;
//! - `shed.overload`: timeouts that shrink under pressure;
//! - `bars.concurrency`, all columns but the first and the last: limits that adapt to latencies.

use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use futures::future::{BoxFuture, join_all};
use serde_json::Value;
use tokio::{
    sync::Semaphore,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_reliability::{
    BoxError, Priority, concurrency_limit::ConcurrencyLimitConfig, rate_limit::RateLimitConfig,
    wait_queue::WaitQueueConfig,
};

const SECOND: Duration = Duration::from_secs(1);

fn vector(area: &str, name: &str) -> Value {
    let all: Vec<Value> =
        serde_json::from_str(include_str!("../vectors/shed.json")).expect("the file is JSON");
    let found = all
        .into_iter()
        .find(|it| it["area"] == area && it["name"].as_str().is_some_and(|it| it.starts_with(name)));
    found.unwrap_or_else(|| panic!("there is no vector {area}, {name}"))
}

/// DAGOR admits whole priorities while they fit. Both limits admit those wholly too, and fill the rest with the oldest
/// calls of the next class.
#[tokio::test(start_paused = true)]
async fn case_30_dagor_admits_the_highest_priorities_that_fit() {
    let vector = vector("shed.dagor", "histogram cursor");
    let target = u32::try_from(vector["given"]["target"].as_u64().expect("a number")).expect("small");
    let buckets = vector["given"]["buckets_high_to_low"].as_array().expect("a list");
    let buckets = buckets.iter().map(|it| it[1].as_u64().expect("a number")).zip(Priority::ALL);
    let admitted_wholly = vector["expect"]["admit"].as_array().expect("a list").len();
    // The lowest first, so that the order is not that of arrival.
    let mut calls: Vec<_> =
        buckets.clone().flat_map(|(calls, class)| (0..calls).map(move |_| class)).collect();
    calls.reverse();

    let queue = WaitQueueConfig::new().capacity(10_000).max_wait(SECOND + SECOND / 2).without_shedding();
    // One window of `target` calls is used up, one comes in time, and the third one too late.
    let config = RateLimitConfig::sliding_window(target, SECOND).queue(queue);
    let layer = config.build().expect("valid").priority(|class: &Priority| *class);
    let served = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&served);
    let service = layer.layer(service_fn(move |class: Priority| {
        seen.lock().expect("no panic").push(class);
        std::future::ready(Ok::<_, BoxError>(()))
    }));
    for _ in 0..target {
        service.clone().oneshot(Priority::Low).await.expect("the first window");
    }
    served.lock().expect("no panic").clear();
    let answers = join_all(calls.iter().map(|class| service.clone().oneshot(*class))).await;

    let served = served.lock().expect("no panic");
    assert_eq!(u32::try_from(served.len()), Ok(target));
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), served.len());
    for (at, (calls, class)) in buckets.enumerate() {
        let served = served.iter().filter(|it| **it == class).count() as u64;
        println!("{class:?}: {served} of {calls}");
        assert_eq!(served == calls, at < admitted_wholly, "{class:?}: {served} of {calls}");
    }
}

/// Sends calls at twice the capacity of a backend that queues what is too much. Returns the calls per second that end
/// within 100 ms, over the last five of twenty seconds.
async fn goodput<S>(limited: impl FnOnce(Backend) -> S) -> u32
where
    S: Service<(), Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    let (begin, service) = (Instant::now(), limited(Backend(Arc::new(Semaphore::new(SERVERS)))));
    let calls: Vec<_> = (0..64_000)
        .map(|number| {
            let (mut service, start) = (service.clone(), begin + SECOND / (2 * CAPACITY) * number);
            tokio::spawn(async move {
                sleep_until(start).await;
                let is_ok = service.call(()).await.is_ok();
                is_ok && start.elapsed() <= SECOND / 10 && start >= begin + 15 * SECOND
            })
        })
        .collect();
    sleep_until(begin + 21 * SECOND).await;
    let ended = calls.into_iter().filter(JoinHandle::is_finished);
    let good = join_all(ended).await.into_iter().filter(|it| *it.as_ref().expect("no panic")).count();
    u32::try_from(good / 5).expect("small")
}

/// So many calls at a time, of 25 ms each.
#[derive(Clone)]
struct Backend(Arc<Semaphore>);

const SERVERS: usize = 40;
/// Calls per second.
const CAPACITY: u32 = 1_600;

impl Service<()> for Backend {
    type Response = ();
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<(), BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        let servers = Arc::clone(&self.0);
        Box::pin(async move {
            let _server = servers.acquire().await?;
            sleep(Duration::from_millis(25)).await;
            Ok(())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn at_twice_the_capacity_a_limit_that_fits_keeps_the_goodput_of_an_adaptive_one() {
    let vector = vector("bars.concurrency", "2x overload");
    let algorithms = vector["given"]["algo"].as_array().expect("a list");
    let expected = |algorithm: &str| {
        let at = algorithms.iter().position(|it| it == algorithm).expect("a column");
        let goodput = &vector["expect"]["goodput_rps"][at];
        // The lower end of a range.
        let range = goodput.as_str().and_then(|it| it.split('-').next()?.parse().ok());
        range.or(goodput.as_u64()).expect("a number")
    };
    let none = goodput(|backend| backend).await;
    let queue = WaitQueueConfig::new().max_wait(SECOND / 20).without_shedding();
    let layer = ConcurrencyLimitConfig::new(40).queue(queue).build().expect("valid");
    let fixed = goodput(|backend| layer.layer(backend)).await;
    println!("goodput without a limit {none}/s, with a fixed limit {fixed}/s, of {CAPACITY}/s");
    assert_eq!(u64::from(none), expected("none"));
    assert!(u64::from(fixed) >= expected("hybrid (this project)"), "{fixed}");
}
