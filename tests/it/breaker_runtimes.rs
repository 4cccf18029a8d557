//! A circuit needs no runtime: it opens and half-opens on time in each of them, and outside of them.

use std::{
    future::ready,
    io,
    time::{Duration, Instant},
};

use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_reliability::{
    Error,
    circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, CircuitState},
};

const OPEN_FOR: Duration = Duration::from_secs(5);

/// A runtime with a clock of its own, which stands still.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime")
}

fn layer() -> CircuitBreakerLayer {
    CircuitBreakerConfig::consecutive(1).open_for(OPEN_FOR).open_jitter(0.0).build().expect("in range")
}

/// Whether a call passes. The service below never answers with success.
async fn passes(layer: &CircuitBreakerLayer) -> bool {
    let mut service = layer.layer(service_fn(|()| {
        ready(Err::<(), Error<io::Error>>(Error::Inner(io::ErrorKind::Other.into())))
    }));
    let result = service.ready().await.expect("it is ready").call(()).await;
    matches!(result, Err(Error::Inner(_)))
}

#[tokio::test(start_paused = true)]
async fn case_67_the_first_call_after_the_open_period_is_a_probe_to_the_nanosecond() {
    let layer = layer();
    assert!(passes(&layer).await);
    for _ in 0..1_000 {
        assert!(!passes(&layer).await);
    }
    tokio::time::advance(OPEN_FOR.saturating_sub(Duration::from_nanos(1))).await;
    for _ in 0..1_000 {
        assert!(!passes(&layer).await);
    }
    tokio::time::advance(Duration::from_nanos(1)).await;
    assert!(passes(&layer).await);
}

#[tokio::test]
async fn case_67_it_half_opens_on_time_on_the_real_clock() {
    let config = CircuitBreakerConfig::consecutive(1).open_for(Duration::from_millis(30)).open_jitter(0.0);
    let layer = config.build().expect("in range");
    let began = Instant::now();
    assert!(passes(&layer).await);
    while !passes(&layer).await {
        tokio::task::yield_now().await;
        assert!(began.elapsed() < Duration::from_secs(10), "it stays open");
    }
    assert!(began.elapsed() >= Duration::from_millis(30));
}

#[test]
fn case_67_with_one_block_on_per_call_no_call_is_rejected_after_the_open_period() {
    let (layer, runtime) = (layer(), runtime());
    assert!(runtime.block_on(passes(&layer)));
    assert!(!runtime.block_on(passes(&layer)));
    runtime.block_on(tokio::time::advance(OPEN_FOR));
    assert!(runtime.block_on(passes(&layer)), "{:?}", layer.handle().snapshot());
}

#[test]
fn case_67_a_runtime_that_was_shut_down_does_not_keep_the_circuit_open() {
    let layer = layer();
    let first = runtime();
    assert!(first.block_on(passes(&layer)));
    drop(first);
    runtime().block_on(async {
        tokio::time::advance(2 * OPEN_FOR).await;
        assert!(passes(&layer).await, "{:?}", layer.handle().snapshot());
    });
}

#[test]
fn case_67_a_runtime_that_stands_still_does_not_keep_the_circuit_open() {
    let (layer, idle) = (layer(), runtime());
    assert!(idle.block_on(passes(&layer)));
    runtime().block_on(async {
        tokio::time::advance(2 * OPEN_FOR).await;
        assert!(passes(&layer).await, "{:?}", layer.handle().snapshot());
    });
    drop(idle);
}

#[tokio::test(start_paused = true)]
async fn case_67_a_rejection_never_says_to_come_back_at_once() {
    let layer = layer();
    assert!(passes(&layer).await);
    loop {
        let mut service = layer.layer(service_fn(|()| ready(Ok::<(), Error<io::Error>>(()))));
        match service.ready().await.expect("it is ready").call(()).await {
            Ok(()) => break,
            Err(error) => {
                let left = error.rejected().and_then(tower_reliability::Rejected::retry_after);
                assert!(left.expect("a time") > Duration::ZERO);
            }
        }
        tokio::time::advance(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_moves_no_paused_clock() {
    let layer = layer();
    assert!(passes(&layer).await);
    let before = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(before.elapsed(), Duration::from_secs(1));
    assert!(!passes(&layer).await);
}

/// Runs `body` and counts the panics in it, those that are caught too.
fn panics(body: impl FnOnce()) -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {
        PANICS.fetch_add(1, Ordering::SeqCst);
    }));
    let before = PANICS.load(Ordering::SeqCst);
    body();
    std::panic::set_hook(hook);
    PANICS.load(Ordering::SeqCst) - before
}

#[test]
fn case_68_it_opens_without_timers_and_without_a_runtime_and_no_panic_is_caught() {
    let count = panics(|| {
        for bare in [None, Some(Builder::new_current_thread().build().expect("a runtime"))] {
            let layer = layer();
            for expected in [true, false] {
                let passed = match &bare {
                    Some(runtime) => runtime.block_on(passes(&layer)),
                    None => futures::executor::block_on(passes(&layer)),
                };
                assert_eq!(passed, expected);
            }
            assert_eq!(layer.handle().state(), CircuitState::Open);
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn case_82_a_waiting_service_goes_on_in_another_runtime_and_fails_outside_of_all() {
    let layer = layer().wait_while_open();
    let mut service = layer.layer(service_fn(|()| ready(Ok::<(), Error<io::Error>>(()))));
    let mut poll = || {
        let waker = futures::task::noop_waker_ref();
        service.poll_ready(&mut std::task::Context::from_waker(waker))
    };
    let first = runtime();
    assert!(first.block_on(passes(&layer)));
    first.block_on(async { assert!(poll().is_pending()) });
    drop(first);
    runtime().block_on(async { assert!(poll().is_pending()) });
    let outside = poll();
    assert!(matches!(outside, std::task::Poll::Ready(Err(Error::Rejected(_)))), "{outside:?}");
}
