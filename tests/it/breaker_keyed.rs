//! One circuit per key.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::poll;
use tokio::time::advance;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_reliability::{
    Error, ErrorClass, Event, EventKind,
    circuit_breaker::{CircuitBreakerConfig, KeyedCircuitBreakerHandle, KeyedCircuitBreakerLayer},
};

use crate::scripted::{Act, Answer, Answered, ByPeer, Diary, Peer, rejected};

type Request = (u32, Act);
type KeyOf = fn(&Request) -> u32;
type Keyed = KeyedCircuitBreakerLayer<u32, KeyOf, ByPeer>;

const CONFIG: CircuitBreakerConfig = CircuitBreakerConfig::consecutive(1).open_jitter(0.0);

fn keyed(
    max_keys: usize,
    config: CircuitBreakerConfig,
    listener: impl Fn(&Event) + Send + Sync + 'static,
) -> Keyed {
    let key: KeyOf = |request| request.0;
    config.build().expect("valid").classify(ByPeer).listen(listener).keyed(key).max_keys(max_keys)
}

async fn answer((_, act): Request) -> Answered {
    match act.answer {
        Answer::Good => Ok(()),
        Answer::Hang => std::future::pending().await,
        answer => Err(Error::Inner(Peer(answer))),
    }
}

async fn call(layer: &Keyed, key: u32, act: Act) -> Answered {
    layer.layer(service_fn(answer)).oneshot((key, act)).await
}

#[tokio::test(start_paused = true)]
async fn a_bad_key_shuts_out_itself_only() {
    let layer = keyed(10, CONFIG, |_| {});
    let _ = call(&layer, 1, Act::BAD).await;
    let answer = call(&layer, 1, Act::GOOD).await;
    assert_eq!(rejected(&answer).map(|one| one.layer().to_string()), Some("circuit_breaker:1".into()));
    assert_eq!(call(&layer, 2, Act::GOOD).await, Ok(()));
    assert_eq!(layer.handle().get(&1).map(|circuit| circuit.snapshot().counts.rejected), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_keys_do_not_exceed_the_bound() {
    let layer = keyed(16, CONFIG, |_| {});
    let mut service = layer.layer(service_fn(answer));
    for key in 0..100_000 {
        let _ = service.call((key, Act::GOOD)).await;
        assert!(layer.handle().len() <= 16);
    }
}

#[tokio::test(start_paused = true)]
async fn only_keys_that_are_idle_and_healthy_are_forgotten() {
    let layer = keyed(4, CircuitBreakerConfig::new(), |_| {});
    let mut service = layer.layer(service_fn(answer));
    let _ = call(&layer, 1, Act::BAD).await;
    let mut busy = Box::pin(service.call((2, Act::HANG)));
    assert!(poll!(&mut busy).is_pending());
    layer.handle().get(&1).expect("it has one");
    let _ = call(&layer, 3, Act::GOOD).await;
    layer.handle().get(&3).expect("it has one").force_open();
    for key in 100..200 {
        let _ = call(&layer, key, Act::GOOD).await;
    }
    let handle = layer.handle();
    assert!([1, 2, 3].iter().all(|key| handle.get(key).is_some()));
    assert_eq!(handle.len(), 4);
    // At rest and recovered, the first two make room.
    drop(busy);
    for _ in 0..20 {
        let _ = (call(&layer, 1, Act::GOOD).await, call(&layer, 2, Act::GOOD).await);
    }
    handle.get(&3).expect("it has one").reset();
    for key in 200..300 {
        let _ = call(&layer, key, Act::GOOD).await;
    }
    assert!([1, 2, 3].iter().all(|key| handle.get(key).is_none()));
}

#[tokio::test(start_paused = true)]
async fn where_no_key_can_go_new_ones_pass_unprotected_and_one_event_says_so() {
    let diary = Diary::default();
    let layer = keyed(2, CONFIG, diary.writer());
    let _ = (call(&layer, 1, Act::BAD).await, call(&layer, 2, Act::BAD).await);
    for key in 10..20 {
        let failed = call(&layer, key, Act::now(Answer::Fail(ErrorClass::Server))).await;
        assert!(rejected(&failed).is_none() && failed.is_err());
    }
    let exhausted = |diary: &Diary| {
        diary.events().into_iter().filter(|e| matches!(e, EventKind::KeysExhausted { max_keys: 2 })).count()
    };
    assert_eq!((exhausted(&diary), layer.handle().len()), (1, 2));
    // Room for one, and then none again: that is told again.
    layer.handle().get(&1).expect("it has one").reset();
    let _ = call(&layer, 30, Act::BAD).await;
    let _ = call(&layer, 31, Act::GOOD).await;
    assert_eq!((exhausted(&diary), layer.handle().len()), (2, 2));
    assert!(layer.handle().get(&1).is_none());
}

#[tokio::test(start_paused = true)]
async fn case_21_room_for_no_key_is_room_for_one() {
    let layer = keyed(0, CONFIG, |_| {});
    assert_eq!(call(&layer, 1, Act::GOOD).await, Ok(()));
    assert_eq!(layer.handle().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_without_further_calls_is_forgiven_in_the_end() {
    let layer = keyed(2, CONFIG, |_| {});
    let _ = (call(&layer, 1, Act::BAD).await, call(&layer, 2, Act::BAD).await);
    advance(Duration::from_secs(3_600)).await;
    for key in 10..20 {
        assert_eq!(call(&layer, key, Act::GOOD).await, Ok(()));
    }
    let handle = layer.handle();
    assert!(handle.get(&1).is_none() && handle.get(&2).is_none());
}

#[tokio::test(start_paused = true)]
async fn many_healthy_keys_make_room_at_once() {
    let layer = keyed(500, CONFIG, |_| {});
    for key in (0..500).chain(0..500) {
        let _ = call(&layer, key, Act::GOOD).await;
    }
    let _ = call(&layer, 1_000, Act::GOOD).await;
    assert!(layer.handle().get(&1_000).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_listener_may_ask_the_keys_while_one_is_being_forgotten() {
    let asked = Arc::new(OnceLock::<KeyedCircuitBreakerHandle<u32>>::new());
    let inside = Arc::clone(&asked);
    let layer = keyed(1, CONFIG.ramp(Duration::from_secs(1)), move |_| {
        inside.get().map(KeyedCircuitBreakerHandle::len);
    });
    assert!(asked.set(layer.handle()).is_ok());
    let _ = call(&layer, 1, Act::BAD).await;
    // The time of its circuit is up, and no call has asked it since.
    advance(Duration::from_secs(5)).await;
    let _ = call(&layer, 2, Act::GOOD).await;
    assert_eq!(call(&layer, 1, Act::GOOD).await, Ok(()));
    let _ = call(&layer, 1, Act::GOOD).await;
    // It ramps; when that is over, it may go.
    advance(Duration::from_secs(1)).await;
    let _ = call(&layer, 2, Act::GOOD).await;
    let _ = call(&layer, 2, Act::GOOD).await;
    assert!(layer.handle().get(&1).is_none());
}
