//! The handles of keyed layers: new numbers, listeners and snapshots for all keys at once.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tower::{Layer, ServiceExt};
use tower_reliability::{
    CircuitState, Error, ErrorClass, Event,
    circuit_breaker::CircuitBreakerConfig,
    retry::{Jitter, RetryConfig},
    testing::{Scripted, Step},
};

use crate::scripted::{Answer, ByPeer, Peer};

const BREAKER: CircuitBreakerConfig = CircuitBreakerConfig::consecutive(2).open_jitter(0.0);
const RETRY: RetryConfig = RetryConfig::fixed(Duration::from_millis(1)).jitter(Jitter::None);

/// A backend that always fails.
fn down() -> Scripted<u32, (), Error<Peer>> {
    Scripted::new(|_: &u32| Step::fail(Error::Inner(Peer(Answer::Fail(ErrorClass::Server)))))
}

#[tokio::test(start_paused = true)]
async fn case_83_new_numbers_of_a_keyed_breaker_hold_for_keys_of_now_and_of_later() {
    let layer = BREAKER.build().expect("valid").classify(ByPeer).keyed(|key: &u32| *key);
    let (service, handle) = (layer.layer(down()), layer.handle());
    assert!(service.clone().oneshot(1).await.is_err());
    let one = handle.get(&1).expect("it was called");
    handle.update(BREAKER.consecutive_failures(1)).expect("valid");
    assert_eq!((handle.config(), one.config()), (BREAKER.consecutive_failures(1), handle.config()));
    for key in [1, 2] {
        assert!(service.clone().oneshot(key).await.is_err());
    }
    let mut states: Vec<_> = handle.snapshots().into_iter().map(|(key, it)| (key, it.state)).collect();
    states.sort_by_key(|(key, _)| *key);
    assert_eq!(states, [(1, CircuitState::Open), (2, CircuitState::Open)]);
    assert_eq!(handle.update(BREAKER.min_requests(0)).map_err(|error| error.field()), Err("min_requests"));
    assert_eq!(handle.config(), BREAKER.consecutive_failures(1));
}

#[tokio::test(start_paused = true)]
async fn case_83_new_numbers_of_a_keyed_retry_hold_for_keys_of_now_and_of_later_and_without_room() {
    let layer = RETRY.max_attempts(1).build().expect("valid").classify(ByPeer);
    let layer = layer.keyed(|key: &u32| *key).max_keys(2);
    let (backend, handle) = (down(), layer.handle());
    let service = layer.layer(backend.clone());
    assert!(service.clone().oneshot(1).await.is_err());
    assert_eq!(backend.calls(), 1);
    handle.update(RETRY.max_attempts(3)).expect("valid");
    for key in [1, 2, 3] {
        assert!(service.clone().oneshot(key).await.is_err());
    }
    assert_eq!((backend.calls(), handle.others().snapshot().counts.retries), (10, 2));
    let retries: Vec<_> = handle.snapshots().into_iter().map(|(_, it)| it.counts.retries).collect();
    assert_eq!(retries, [2, 2]);
    assert_eq!(handle.update(RETRY.max_attempts(0)).map_err(|error| error.field()), Err("max_attempts"));
}

#[tokio::test(start_paused = true)]
async fn a_listener_of_the_handle_hears_all_keys_and_the_calls_without_room() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let layer = RETRY.max_attempts(2).build().expect("valid").classify(ByPeer);
    let layer = layer.keyed(|key: &u32| *key).max_keys(1);
    let service = layer.layer(down());
    assert!(service.clone().oneshot(1).await.is_err());
    layer.handle().listen(move |event: &Event| log.lock().expect("no panic").push(event.layer.to_string()));
    for key in [1, 2] {
        assert!(service.clone().oneshot(key).await.is_err());
    }
    // The second key finds no room, which is an event of the layer, and its retry is an event of all others.
    assert_eq!(*told.lock().expect("no panic"), ["retry:1", "retry", "retry"]);
}
