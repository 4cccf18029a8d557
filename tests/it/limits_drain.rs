//! A server that is told to stop while its calls wait in front of its limits, over real sockets.

#![cfg(unix)]

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::{sleep, timeout},
};
use tower::ServiceBuilder;
use tower_reliability::{
    Error,
    concurrency_limit::ConcurrencyLimitConfig,
    drain::DrainConfig,
    http::{BodyOutcomeLayer, RejectionLayer, UntilBodyEnd},
    rate_limit::RateLimitConfig,
    wait_queue::WaitQueueConfig,
};

use crate::peers::listen;

const SECOND: Duration = Duration::from_secs(1);

/// What the clients saw.
#[derive(Default)]
struct Answers {
    whole: AtomicU64,
    over_the_rate: AtomicU64,
    unavailable: AtomicU64,
}

/// Asks until the server is gone. Every answer is whole, or a typed rejection.
async fn visit(address: String, answers: Arc<Answers>, stopped: Arc<AtomicBool>) {
    let client = reqwest::Client::builder().pool_max_idle_per_host(1).build().expect("a client");
    loop {
        let response = match client.get(format!("http://{address}/")).send().await {
            Ok(response) => response,
            // Not accepted: the server had closed the connection, or its listener.
            Err(error) => {
                assert!(stopped.load(Relaxed), "{error:?}");
                return;
            }
        };
        let count = match response.status().as_u16() {
            200 => &answers.whole,
            429 => &answers.over_the_rate,
            503 => &answers.unavailable,
            other => panic!("status {other}"),
        };
        count.fetch_add(1, Relaxed);
        if response.status() == 200 {
            assert_eq!(response.text().await.expect("a whole body"), "done");
            continue;
        }
        let (headers, is_closing) = (response.headers(), response.headers().get("connection").is_some());
        assert_eq!(headers["content-type"], "application/problem+json");
        assert!(headers.contains_key("retry-after") || is_closing && stopped.load(Relaxed), "{headers:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_63_at_sigterm_calls_that_wait_for_permits_and_tokens_finish_or_are_rejected() {
    let queue = WaitQueueConfig::new().capacity(30).max_wait(SECOND / 4).without_shedding();
    let drain = DrainConfig::new().limit(20 * SECOND).build().expect("valid").classify(UntilBodyEnd);
    let rate = RateLimitConfig::per_second(300).burst(5).queue(queue).build().expect("valid");
    let concurrency = ConcurrencyLimitConfig::new(3).queue(queue).build().expect("valid");
    let (drained, rates, permits) = (drain.handle(), rate.handle(), concurrency.handle());
    let handled = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&handled);
    let page = get(async move || {
        sleep(Duration::from_millis(20)).await;
        count.fetch_add(1, Relaxed);
        "done"
    });
    let layers = ServiceBuilder::new()
        .layer(BodyOutcomeLayer)
        .layer(RejectionLayer::new())
        .layer(drain)
        .layer(rate)
        .layer(concurrency)
        .map_err(Error::inner);
    let (listener, address) = listen().await;
    let mut terminate = signal(SignalKind::terminate()).expect("a signal");
    let stopped = Arc::new(AtomicBool::new(false));
    let server = tokio::spawn({
        let (stopped, handle) = (Arc::clone(&stopped), drained.clone());
        async move {
            let (tell, told) = oneshot::channel();
            let app = Router::new().route("/", page).layer(layers);
            let served = axum::serve(listener, app).with_graceful_shutdown(async move {
                terminate.recv().await;
                stopped.store(true, Relaxed);
                let _ = tell.send(handle.drain().await);
            });
            served.await.expect("it stops without an error");
            told.await.expect("the server ends after the drain")
        }
    });
    let answers = Arc::<Answers>::default();
    let visitors: Vec<_> = (0..80)
        .map(|_| tokio::spawn(visit(address.clone(), Arc::clone(&answers), Arc::clone(&stopped))))
        .collect();
    // Until calls wait in both queues.
    timeout(10 * SECOND, async {
        while rates.snapshot().waiting == 0 || permits.snapshot().waiting == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("the server is overloaded");
    sleep(SECOND / 4).await;
    let pid = std::process::id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("it runs").success());

    let report = timeout(30 * SECOND, server).await.expect("it stops").expect("no panic");
    for visitor in visitors {
        timeout(5 * SECOND, visitor).await.expect("it ends").expect("no answer is lost");
    }
    println!("{report:?}, {:?}, {:?}", rates.snapshot().counts, permits.snapshot().counts);
    assert_eq!((report.left, rates.snapshot().waiting), (0, 0));
    assert_eq!((permits.snapshot().waiting, permits.snapshot().in_flight), (0, 0));
    // More than the three that held a permit.
    assert!(report.finished > 3, "calls waited when the server began to stop");
    // Each answer of the server reached its client.
    let (of_rate, of_permits) = (rates.snapshot().counts, permits.snapshot().counts);
    let over_the_rate = of_rate.rejected_full + of_rate.rejected_max_wait;
    let unavailable = of_permits.rejected_full + of_permits.rejected_max_wait + drained.snapshot().rejected;
    assert_eq!(answers.whole.load(Relaxed), handled.load(Relaxed));
    assert_eq!(answers.over_the_rate.load(Relaxed), over_the_rate);
    assert_eq!(answers.unavailable.load(Relaxed), unavailable);
    assert_eq!((of_rate.cancelled, of_permits.cancelled), (0, 0));
}
