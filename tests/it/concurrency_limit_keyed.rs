//! One limit per key: shares, bounds, and new numbers.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::join_all};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_reliability::{
    BoxError, Event, EventKind, Reason, Rejected,
    concurrency_limit::{ConcurrencyLimitConfig, KeyedConcurrencyLimitHandle, KeyedConcurrencyLimitLayer},
    wait_queue::WaitQueueConfig,
};

const TAKES: Duration = Duration::from_millis(10);

/// The request is its key.
fn layer(config: ConcurrencyLimitConfig) -> KeyedConcurrencyLimitLayer<u32, impl Fn(&u32) -> u32 + Clone> {
    config.build().expect("valid").named("clients").keyed(|client: &u32| *client)
}

fn backend() -> impl Service<u32, Response = (), Error = BoxError, Future: Send> + Clone {
    service_fn(|_: u32| sleep(TAKES).map(Ok::<_, BoxError>))
}

fn rejected(result: Result<(), BoxError>) -> Rejected {
    *result.expect_err("it is rejected").downcast::<Rejected>().expect("by the limit")
}

#[tokio::test(start_paused = true)]
async fn beside_a_greedy_client_a_polite_one_keeps_its_share() {
    let layer = layer(ConcurrencyLimitConfig::new(2));
    let service = layer.layer(backend());
    // A hundred times what its limit takes.
    let greedy: Vec<_> = (0..1_000)
        .map(|call| {
            let service = service.clone();
            tokio::spawn(async move {
                sleep(TAKES / 200 * call).await;
                service.oneshot(1).await.is_ok()
            })
        })
        .collect();
    for _ in 0..5 {
        let began = Instant::now();
        service.clone().oneshot(2).await.expect("it has permits of its own");
        assert!(began.elapsed() <= TAKES + Duration::from_millis(1), "{:?}", began.elapsed());
    }
    let served = join_all(greedy).await.into_iter().filter(|call| *call.as_ref().expect("no panic")).count();
    assert!((10..100).contains(&served), "{served} greedy calls of 1 000");
    let polite = layer.handle().get(&2).expect("it is known").snapshot();
    assert_eq!((polite.counts.limited, polite.in_flight), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn case_81_keys_without_a_place_share_one_limit_and_keys_in_use_stay() {
    let exhausted = Arc::new(Mutex::new(0));
    let count = Arc::clone(&exhausted);
    let config = ConcurrencyLimitConfig::new(1).queue(WaitQueueConfig::none());
    let layer = config.build().expect("valid").named("clients").listen(move |event: &Event| {
        if matches!(event.kind, EventKind::KeysExhausted { max_keys: 2, .. }) {
            *count.lock().expect("no panic") += 1;
        }
    });
    let layer = layer.keyed(|client: &u32| *client).max_keys(2);
    let (mut service, handle) = (layer.layer(backend()), layer.handle());
    let held = [1, 2].map(|client| service.call(client));
    let own = rejected(service.call(1).await);
    assert_eq!((own.layer().as_str(), own.reason()), ("clients:1", Reason::ConcurrencyLimited { limit: 1 }));
    // Ten thousand other clients have one permit in all.
    let other = service.call(3);
    for client in 4..10_004 {
        assert_eq!(rejected(service.call(client).await).layer().as_str(), "clients");
    }
    assert_eq!((handle.len(), handle.others().snapshot().in_flight), (2, 1));
    assert_eq!(*exhausted.lock().expect("no panic"), 1);
    drop((held, other));
    // Without calls, the key that was idle for the longest time makes room.
    service.call(3).await.expect("it has a limit of its own");
    assert_eq!((handle.len(), handle.get(&2).is_none(), handle.get(&3).is_some()), (2, true, true));
}

#[tokio::test(start_paused = true)]
async fn case_64_new_numbers_hold_for_known_and_for_later_keys() {
    let layer = layer(ConcurrencyLimitConfig::new(1));
    let (mut service, handle) = (layer.layer(backend()), layer.handle());
    let calls = [(); 3].map(|()| service.call(1));
    assert_eq!(handle.get(&1).expect("it is known").snapshot().waiting, 2);
    handle.update(ConcurrencyLimitConfig::new(3)).expect("valid");
    assert_eq!(handle.get(&1).expect("it is known").snapshot().in_flight, 3);
    assert_eq!(handle.update(ConcurrencyLimitConfig::new(0)).map_err(|error| error.field()), Err("limit"));
    for answer in join_all(calls).await {
        answer.expect("served");
    }
    drop(service.call(2));
    assert_eq!(handle.get(&2).expect("it is known").config(), ConcurrencyLimitConfig::new(3));
}

#[test]
fn case_64_of_updates_that_overlap_one_holds_for_all_keys() {
    let (slot, updated) =
        (Arc::new(OnceLock::<KeyedConcurrencyLimitHandle<u32>>::new()), AtomicBool::new(false));
    let handle = Arc::clone(&slot);
    let layer = layer(ConcurrencyLimitConfig::new(1));
    let handle_of_layer = slot.get_or_init(|| layer.handle());
    handle_of_layer.listen(move |event: &Event| {
        if matches!(event.kind, EventKind::Reconfigured) && !updated.swap(true, Ordering::Relaxed) {
            handle.get().expect("it is set").update(ConcurrencyLimitConfig::new(5)).expect("valid");
        }
    });
    drop(layer.layer(backend()).call(1));
    handle_of_layer.update(ConcurrencyLimitConfig::new(3)).expect("valid");
    let one = handle_of_layer.get(&1).expect("it is known").config();
    assert_eq!((one, one), (handle_of_layer.config(), handle_of_layer.others().config()));
}

#[tokio::test(start_paused = true)]
async fn a_listener_of_the_handle_hears_all_keys_and_the_calls_without_room() {
    let layer = layer(ConcurrencyLimitConfig::new(1).queue(WaitQueueConfig::none())).max_keys(1);
    let (mut service, told) = (layer.layer(backend()), Arc::new(Mutex::new(Vec::new())));
    let log = Arc::clone(&told);
    let _held = [1, 2].map(|client| service.call(client));
    layer.handle().listen(move |event: &Event| log.lock().expect("no panic").push(event.layer.to_string()));
    for client in [1, 2] {
        assert!(service.call(client).await.is_err());
    }
    assert_eq!(*told.lock().expect("no panic"), ["clients:1", "clients"]);
}
