//! An open circuit lets a timer look at the clock; it must reopen on time whatever becomes of that timer's runtime.

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

const REST: Duration = Duration::from_secs(5);

/// A runtime with a clock of its own, which stands still.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime")
}

fn layer() -> CircuitBreakerLayer {
    CircuitBreakerConfig::consecutive(1).open_for(REST).open_jitter(0.0).build().expect("in range")
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
async fn it_reopens_on_the_nanosecond_while_the_clock_is_moved_by_hand() {
    let layer = layer();
    assert!(passes(&layer).await);
    for _ in 0..1_000 {
        assert!(!passes(&layer).await);
    }
    tokio::time::advance(REST.saturating_sub(Duration::from_nanos(1))).await;
    for _ in 0..1_000 {
        assert!(!passes(&layer).await);
    }
    tokio::time::advance(Duration::from_nanos(1)).await;
    assert!(passes(&layer).await);
}

#[tokio::test]
async fn it_reopens_on_time_on_the_real_clock() {
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
fn it_reopens_although_the_runtime_in_which_it_opened_is_gone() {
    let layer = layer();
    let first = runtime();
    assert!(first.block_on(passes(&layer)));
    drop(first);
    runtime().block_on(async {
        tokio::time::advance(2 * REST).await;
        assert!(passes(&layer).await, "{:?}", layer.handle().snapshot());
    });
}

#[test]
fn it_reopens_although_nobody_drives_the_runtime_in_which_it_opened() {
    let layer = layer();
    let idle = runtime();
    assert!(idle.block_on(passes(&layer)));
    runtime().block_on(async {
        tokio::time::advance(2 * REST).await;
        let mut turned_away = 0;
        while !passes(&layer).await {
            turned_away += 1;
            assert!(turned_away <= 64, "{:?}", layer.handle().snapshot());
        }
    });
    drop(idle);
}

#[test]
fn it_opens_in_a_runtime_that_has_no_timers() {
    let layer = layer();
    let bare = Builder::new_current_thread().build().expect("a runtime");
    assert!(bare.block_on(passes(&layer)));
    assert!(!bare.block_on(passes(&layer)));
    assert_eq!(layer.handle().snapshot().counts.trips, 1);
}

#[test]
fn it_opens_and_reopens_without_any_runtime() {
    let layer = layer();
    assert!(futures::executor::block_on(passes(&layer)));
    assert!(!futures::executor::block_on(passes(&layer)));
    assert_eq!(layer.handle().state(), CircuitState::Open);
}
