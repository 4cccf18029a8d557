//! One limit per key: who passes, what it remembers, and what it tells.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::{Future, Ready, pending, ready},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::{Router, extract::Request as HttpRequest, routing::get};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::advance,
};
use tower::{Layer, Service, ServiceExt, service_fn, util::MapErrLayer};
use tower_reliability::{
    Error, Event, EventKind, Reason, Rejected,
    http::RejectionLayer,
    rate_limit::{RateLimitConfig, UnitCost, keyed::KeyedRateLimitLayer},
};

/// A key and a cost.
type Request = (u32, u32);
type Answer = Result<(), Error<std::fmt::Error>>;
type Keyed = KeyedRateLimitLayer<u32, fn(&Request) -> u32, fn(&Request) -> u32>;

fn keyed(config: RateLimitConfig) -> Keyed {
    let part: [fn(&Request) -> u32; 2] = [|request| request.0, |request| request.1];
    config.build().expect("valid").cost(part[1]).keyed(part[0])
}

fn call(layer: &Keyed, key: u32, cost: u32) -> Result<(), Rejected> {
    let mut service = layer.layer(service_fn(|_: Request| ready(Ok(()) as Answer)));
    let future = service.call((key, cost));
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(answer) = std::pin::pin!(future).poll(&mut context) else {
        panic!("it waits for nothing")
    };
    answer.map_err(|error| match error {
        Error::Rejected(rejected) => rejected,
        other @ Error::Inner(_) => panic!("{other}"),
    })
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn case_24_a_greedy_key_is_rejected_alone_and_told_when_to_come_again() {
    let layer = keyed(RateLimitConfig::per_second(10).burst(2));
    assert_eq!([call(&layer, 1, 1), call(&layer, 1, 1)], [Ok(()), Ok(())]);
    let rejected = call(&layer, 1, 1).expect_err("two have passed");
    assert_eq!(rejected.reason(), Reason::RateLimited);
    assert_eq!(rejected.retry_after(), Some(Duration::from_millis(100)));
    assert_eq!(rejected.to_string(), "rate_limit: rate limit reached, retry after 100ms");
    assert_eq!(call(&layer, 2, 2), Ok(()));
    advance(Duration::from_millis(99)).await;
    assert!(call(&layer, 1, 1).is_err());
    advance(Duration::from_millis(1)).await;
    assert_eq!(call(&layer, 1, 1), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn case_28_a_window_of_a_key_admits_its_calls_in_any_span() {
    for seed in 0..5 {
        let mut rng = StdRng::seed_from_u64(seed);
        let layer = keyed(RateLimitConfig::per_second(20).burst(2).window(5, SECOND));
        let mut passed = HashMap::<u32, Vec<Duration>>::new();
        let mut now = Duration::ZERO;
        for _ in 0..3_000 {
            let step = Duration::from_millis(rng.random_range(0..20));
            advance(step).await;
            now += step;
            let key = rng.random_range(0..8);
            let passed = passed.entry(key).or_default();
            let in_span = passed.iter().filter(|at| **at + SECOND > now).count();
            match call(&layer, key, 1) {
                Ok(()) => {
                    assert!(in_span < 5, "seed {seed}: key {key} at {now:?}");
                    passed.push(now);
                }
                Err(rejected) => {
                    let after = rejected.retry_after().expect("a time");
                    assert!(after > Duration::ZERO && (in_span == 5 || after <= Duration::from_millis(50)));
                }
            }
        }
        assert!(layer.handle().snapshot().keys <= 8);
    }
}

#[tokio::test(start_paused = true)]
async fn case_21_extreme_bounds_and_costs_do_no_harm() {
    for config in [
        RateLimitConfig::per(1, Duration::from_secs(3_600)).burst(1_000_000),
        RateLimitConfig::per_second(1_000_000).burst(1_000_000),
        RateLimitConfig::sliding_window(1_000_000_000, Duration::from_secs(31 * 24 * 3_600)),
    ] {
        for max_keys in [0, 1, usize::MAX] {
            let layer = keyed(config).max_keys(max_keys);
            for key in 0..100 {
                assert_eq!([call(&layer, key, 0), call(&layer, key, 1)], [Ok(()), Ok(())]);
                let rejected = call(&layer, key, u32::MAX).expect_err("it costs too much");
                assert!(matches!(rejected.reason(), Reason::CostTooHigh { cost: u32::MAX, .. }));
                assert_eq!(rejected.retry_after(), None);
            }
            advance(Duration::from_secs(100 * 365 * 24 * 3_600)).await;
            assert_eq!(call(&layer, 7, 1_000_000), Ok(()));
            assert!(layer.handle().snapshot().keys <= max_keys.max(1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn case_23_every_service_of_a_layer_and_of_its_clones_shares_the_limits() {
    let layer = keyed(RateLimitConfig::per_second(1).burst(2));
    assert_eq!([call(&layer, 1, 1), call(&layer.clone(), 1, 1)], [Ok(()), Ok(())]);
    assert!(call(&layer, 1, 1).is_err() && call(&layer.clone(), 1, 1).is_err());
    assert_eq!(call(&layer.clone().max_keys(10), 1, 1), Ok(()), "it has limits of its own");
    assert_eq!(layer.handle().snapshot().rejected, 2);
}

#[tokio::test(start_paused = true)]
async fn case_61_every_call_passes_or_is_counted() {
    let layer = keyed(RateLimitConfig::per_second(10).burst(3)).max_keys(50);
    let (mut rng, mut rejected) = (StdRng::seed_from_u64(61), 0);
    for _ in 0..100_000 {
        if rng.random_bool(0.05) {
            advance(Duration::from_millis(rng.random_range(0..200))).await;
        }
        rejected += u64::from(call(&layer, rng.random_range(0..200), rng.random_range(0..5)).is_err());
    }
    let snapshot = layer.handle().snapshot();
    assert_eq!((snapshot.rejected, snapshot.would_limit), (rejected, 0));
    assert!(snapshot.keys <= snapshot.max_keys && snapshot.evicted > 0 && snapshot.without_room > 0);
}

#[tokio::test(start_paused = true)]
async fn case_64_other_numbers_hold_for_every_key_without_a_burst_or_a_stall() {
    let hour = Duration::from_secs(3_600);
    let (slow, fast) = (RateLimitConfig::per(1, hour).burst(5), RateLimitConfig::per_second(10).burst(5));
    let layer = keyed(slow);
    for key in 0..1_000 {
        assert_eq!(call(&layer, key, 5), Ok(()));
    }
    layer.handle().update(fast).expect("valid");
    assert_eq!(layer.handle().config(), fast);
    for key in 0..1_000 {
        let rejected = call(&layer, key, 1).expect_err("no burst");
        assert_eq!(rejected.retry_after(), Some(Duration::from_millis(100)), "no stall");
    }
    advance(Duration::from_millis(100)).await;
    assert_eq!([call(&layer, 3, 1), call(&layer, 5_000, 5)], [Ok(()), Ok(())]);
    assert!(layer.handle().update(RateLimitConfig::per_second(0)).is_err());
    assert_eq!(layer.handle().config(), fast);
}

#[tokio::test(start_paused = true)]
async fn in_shadow_mode_every_call_passes_and_is_counted() {
    let layer = keyed(RateLimitConfig::per_second(1).shadow(true));
    assert_eq!([(); 3].map(|()| call(&layer, 1, 1)), [Ok(()), Ok(()), Ok(())]);
    assert_eq!((layer.handle().snapshot().would_limit, layer.handle().snapshot().rejected), (2, 0));
    layer.handle().update(RateLimitConfig::per_second(1)).expect("valid");
    assert!(call(&layer, 1, 1).is_err());
    assert_eq!((layer.handle().snapshot().would_limit, layer.handle().snapshot().rejected), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_new_keys_is_told_once_a_minute() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = {
        let told = Arc::clone(&told);
        move |event: &Event| told.lock().expect("no panic").push((event.layer.to_string(), event.kind))
    };
    let layer =
        RateLimitConfig::per_second(1).burst(3).build().expect("valid").named("clients").listen(listener);
    let layer = layer.keyed(|key: &u32| *key).max_keys(10);
    let mut service = layer.layer(service_fn(|_: u32| ready(Ok(()) as Answer)));
    for flood in [0..10_000, 10_000..20_000] {
        for key in flood {
            let _ = service.call(key).await;
        }
        advance(SECOND * 61).await;
    }
    let expected = ("clients".to_owned(), EventKind::KeysExhausted { max_keys: 10 });
    assert_eq!(*told.lock().expect("no panic"), [expected.clone(), expected]);
    let snapshot = layer.handle().snapshot();
    assert!((snapshot.keys, snapshot.max_keys) == (10, 10) && snapshot.without_room > 10_000, "{snapshot:?}");
}

#[test]
fn a_listener_of_the_handle_hears_new_numbers() {
    let layer = RateLimitConfig::per_second(1).build().expect("valid").keyed(|key: &u32| *key);
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    layer.handle().listen(move |event: &Event| log.lock().expect("no panic").push(event.kind));
    layer.handle().update(RateLimitConfig::per_second(2)).expect("valid");
    assert_eq!(*told.lock().expect("no panic"), [EventKind::Reconfigured]);
}

#[tokio::test]
async fn case_07_a_call_that_is_dropped_has_spent_its_token_and_a_rejected_call_does_not_reach_the_backend() {
    let layer =
        RateLimitConfig::per(1, SECOND * 3_600).burst(2).build().expect("valid").keyed(|key: &u32| *key);
    let inner = service_fn(|_: u32| pending::<Answer>());
    let mut service = layer.layer(inner);
    drop(service.call(1));
    drop(service.call(1));
    assert!(matches!(service.call(1).await, Err(Error::Rejected(_))));
}

/// Asks once, with a header that names the client.
async fn ask(port: u16, client: &str) -> u16 {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
    let request = format!("GET / HTTP/1.1\r\nhost: x\r\nclient: {client}\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.expect("it is read");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.expect("an answer");
    assert!(!answer.contains("greedy"), "{answer}");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_23_over_real_connections_and_two_routes_a_greedy_client_does_not_harm_a_polite_one() {
    let key = |request: &HttpRequest| request.headers().get("client").cloned();
    let limit = RateLimitConfig::per(1, SECOND * 60).burst(10).build().expect("valid").keyed(key);
    let handle = limit.handle();
    let app = Router::new().route("/", get(|| async {})).route("/b", get(|| async {}));
    let app = app.layer((RejectionLayer::new(), limit, MapErrLayer::new(Error::<Infallible>::inner)));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let greedy = futures::future::join_all((0..200).map(|_| ask(port, "greedy")));
    let polite = futures::future::join_all((0..10).map(|_| ask(port, "polite")));
    let (greedy, polite) = tokio::join!(greedy, polite);
    server.abort();
    assert_eq!(polite, [200; 10]);
    let passed = greedy.iter().filter(|status| **status == 200).count();
    assert_eq!((passed, greedy.iter().filter(|status| **status == 429).count()), (10, 190));
    assert_eq!((handle.snapshot().keys, handle.snapshot().rejected), (2, 190));
}

#[test]
fn case_12_the_service_is_send_and_sync_as_the_inner_one() {
    fn is_send_and_sync<T: Send + Sync>(_: &T) {}
    let layer: KeyedRateLimitLayer<u32, fn(&u32) -> u32, UnitCost> =
        RateLimitConfig::per_second(1).build().expect("valid").keyed(|key| *key);
    is_send_and_sync(&layer.layer(service_fn(|_: u32| ready(Ok(()) as Answer))));
    let service = layer.layer(service_fn(|_: u32| ready(Ok(()) as Answer)));
    assert!(format!("{layer:?} {service:?} {:?}", service.handle()).contains("rate_limit"));
}

#[tokio::test]
async fn case_12_a_service_that_is_not_clone_works() {
    struct NotClone;
    impl Service<u32> for NotClone {
        type Response = ();
        type Error = Error<std::fmt::Error>;
        type Future = Ready<Answer>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Answer> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: u32) -> Self::Future {
            ready(Ok(()))
        }
    }
    let layer = RateLimitConfig::per_second(1).build().expect("valid").keyed(|key: &u32| *key);
    assert!(layer.layer(NotClone).oneshot(1).await.is_ok());
    assert!(layer.layer(NotClone).oneshot(1).await.is_err());
}
