//! The test kit: the script, the counts and the faults, on paused time.

use std::{io, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use tokio::time::{Instant, timeout};
use tokio_test::{assert_pending, assert_ready_ok, task::spawn};
use tower::{Layer, Service, ServiceExt};
use tower_reliability::{
    Error, ReliabilityStack,
    circuit_breaker::{CircuitBreakerConfig, CircuitState},
    testing::{FaultConfig, FaultHandle, Latency, Scripted, Step},
};

const SECOND: Duration = Duration::from_secs(1);

fn echo() -> Scripted<u32, u32, &'static str> {
    Scripted::new(|n: &u32| Step::answer(*n))
}

#[tokio::test(start_paused = true)]
async fn each_request_takes_the_next_step_and_then_the_rule_speaks() {
    let backend = echo();
    backend.play([Step::fail("down"), Step::answer(7).after(SECOND)]);
    let began = Instant::now();
    for (request, answer) in [(1, Err("down")), (2, Ok(7)), (3, Ok(3))] {
        assert_eq!(backend.clone().oneshot(request).await, answer);
    }
    assert_eq!((began.elapsed(), backend.remaining()), (SECOND, 0));
    assert_eq!(backend.call_times(), [Duration::ZERO, Duration::ZERO, SECOND]);
    assert_eq!((backend.take_requests(), backend.take_requests()), (vec![1, 2, 3], vec![]));
    assert_eq!(backend.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn calls_in_flight_and_dropped_calls_are_counted() {
    let backend = echo();
    backend.play([Step::hang(), Step::hang(), Step::answer(1).after(SECOND)]);
    let (first, second) = (spawn(backend.clone().call(1)), spawn(backend.clone().call(2)));
    let third = backend.clone().call(3);
    assert_eq!((backend.in_flight(), backend.dropped()), (3, 0));
    drop(first);
    assert_eq!((backend.in_flight(), backend.dropped()), (2, 1));
    assert!(timeout(SECOND, second).await.is_err());
    assert_eq!((third.await, backend.in_flight(), backend.dropped()), (Ok(1), 0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_no_dropped_call() {
    let backend = echo();
    backend.play([Step::panic().after(SECOND), Step::panic_in_call()]);
    let in_future = AssertUnwindSafe(backend.clone().oneshot(1)).catch_unwind().await;
    let in_call = AssertUnwindSafe(async { backend.clone().call(2).await }).catch_unwind().await;
    assert!(in_future.is_err() && in_call.is_err());
    assert_eq!((backend.calls(), backend.in_flight(), backend.dropped()), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_not_ready_becomes_ready_in_time() {
    let backend = echo();
    backend.play([Step::not_ready(SECOND), Step::not_ready(SECOND), Step::answer(9)]);
    let began = Instant::now();
    // Both wait for the same steps, and each is woken.
    let both = futures::join!(backend.clone().oneshot(1), backend.clone().oneshot(2));
    assert_eq!((both, began.elapsed()), ((Ok(9), Ok(2)), 2 * SECOND));
    backend.play([Step::not_ready(Duration::MAX)]);
    let mut never = backend.clone();
    assert_pending!(spawn(never.ready()).poll());
    // A service that was ready before may still be called.
    assert_eq!(backend.clone().call(5).await, Ok(5));
    assert_eq!(backend.remaining(), 1);
}

#[tokio::test]
async fn a_step_without_a_delay_needs_no_timer() {
    let backend = echo();
    backend.play([Step::fail("down")]);
    let mut service = backend.clone();
    assert_ready_ok!(spawn(service.ready()).poll());
    assert_eq!(service.call(1).now_or_never(), Some(Err("down")));
}

#[tokio::test(start_paused = true)]
async fn a_user_sees_the_circuit_open_and_close() {
    let backend = Scripted::new(|(): &()| Step::fail(io::Error::from(io::ErrorKind::ConnectionRefused)));
    let config = CircuitBreakerConfig::consecutive(3);
    let stack = ReliabilityStack::builder().circuit_breaker(config).build().expect("valid");
    let client = stack.layer(backend.clone());
    for _ in 0..5 {
        assert!(client.clone().oneshot(()).await.is_err());
    }
    assert_eq!((stack.circuit_breaker().state(), backend.calls()), (CircuitState::Open, 3));
    tokio::time::advance(stack.circuit_breaker().snapshot().retry_after.expect("it is open")).await;
    backend.play([Step::answer(()), Step::answer(())]);
    for _ in 0..2 {
        assert!(matches!(client.clone().oneshot(()).await, Ok(())));
    }
    assert_eq!(stack.circuit_breaker().state(), CircuitState::Closed);
    assert!(matches!(client.oneshot(()).await, Err(Error::Inner(_))));
}

/// The results of 200 calls through faults, one letter each, and the time that the calls took.
async fn results(
    handle: &FaultHandle,
    service: impl Service<u32, Error = &'static str> + Clone,
) -> (String, Duration) {
    let (before, began) = (handle.snapshot().hung, Instant::now());
    let mut results = String::new();
    for n in 0..200 {
        results.push(match timeout(60 * SECOND, service.clone().oneshot(n)).await {
            Ok(Ok(_)) => '.',
            Ok(Err(_)) => 'f',
            Err(_) => 'h',
        });
    }
    let hung = u32::try_from(handle.snapshot().hung - before).expect("a few");
    (results, began.elapsed().saturating_sub(hung * 60 * SECOND))
}

const BAD_DAY: FaultConfig = FaultConfig::new()
    .failure_rate(0.2)
    .hang_rate(0.1)
    .latency(Latency::Uniform { min: SECOND, max: Duration::from_secs(3) })
    .seed(3);

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_faults() {
    let faults = || BAD_DAY.build_failing(|| Err("injected")).expect("valid");
    let (first, second) = (faults(), faults());
    let (backend, handle) = (echo(), first.handle());
    let expected = results(&handle, first.layer(backend.clone())).await;
    assert_eq!(results(&second.handle(), second.layer(echo())).await, expected);
    handle.update(BAD_DAY).expect("valid");
    assert_eq!(results(&handle, first.layer(echo())).await, expected, "an update begins again");
    handle.update(BAD_DAY.seed(4)).expect("valid");
    assert_ne!(results(&handle, first.layer(echo())).await, expected);
    let seen = |letter| expected.0.matches(letter).count();
    assert!((25..55).contains(&seen('f')) && (8..32).contains(&seen('h')), "{expected:?}");
    assert_eq!(backend.calls(), seen('.'), "the backend gets the calls without a fault");
    let mean = expected.1 / u32::try_from(200 - seen('h')).expect("a few");
    assert!((SECOND * 19 / 10..SECOND * 21 / 10).contains(&mean), "{mean:?}");
}

#[tokio::test(start_paused = true)]
async fn another_rate_leaves_the_latencies_of_a_seed_as_they_are() {
    async fn latencies(config: FaultConfig) -> Vec<Option<Duration>> {
        let faults = config.build_failing(|| Err("injected")).expect("valid");
        let (mut service, mut latencies) = (faults.layer(echo()), Vec::new());
        for n in 0..50 {
            let began = Instant::now();
            let answer = timeout(60 * SECOND, service.call(n)).await;
            latencies.push(answer.is_ok().then(|| began.elapsed()));
        }
        latencies
    }
    let (good, bad) = (BAD_DAY.failure_rate(0.0).hang_rate(0.0), BAD_DAY);
    let (good, bad) = (latencies(good).await, latencies(bad).await);
    assert!(bad.contains(&None) && !good.contains(&None));
    assert!(good.iter().zip(&bad).all(|(good, bad)| bad.is_none() || good == bad), "{good:?} {bad:?}");
}

#[tokio::test(start_paused = true)]
async fn a_disabled_layer_injects_nothing_and_goes_on_where_it_was() {
    let faults = BAD_DAY.build_failing(|| Err("injected")).expect("valid");
    let handle = faults.handle();
    let (whole, _) = results(&handle, faults.layer(echo())).await;
    handle.update(BAD_DAY).expect("valid");
    handle.disable();
    let (nothing, took) = results(&handle, faults.layer(echo())).await;
    assert_eq!((nothing, took), (".".repeat(200), Duration::ZERO));
    handle.enable();
    assert_eq!(results(&handle, faults.layer(echo())).await.0, whole);
    let seen = handle.snapshot();
    let count = |letter| u64::try_from(2 * whole.matches(letter).count()).expect("a few");
    assert_eq!((seen.calls, seen.failed, seen.hung), (600, count('f'), count('h')));
    assert_eq!(seen.delayed, 400 - seen.hung);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_drops_the_inner_call() {
    let backend = echo();
    backend.play([Step::hang()]);
    let faults = FaultConfig::new().latency(Latency::Fixed(SECOND)).build().expect("valid");
    let mut waits = spawn(faults.layer(backend.clone()).call(1));
    assert_pending!(waits.poll());
    drop(waits);
    assert_eq!((backend.in_flight(), backend.dropped()), (0, 1));
    // The latency follows the answer, so a call that is dropped in it has ended for the backend.
    let mut delayed = spawn(faults.layer(backend.clone()).call(1));
    assert_pending!(delayed.poll());
    assert_eq!((backend.in_flight(), backend.dropped()), (0, 1));
}

#[test]
fn an_update_cannot_fail_calls_without_a_failure() {
    let handle = FaultConfig::new().build().expect("valid").handle();
    let refused = handle.update(FaultConfig::new().failure_rate(0.1)).map_err(|error| error.to_string());
    assert_eq!(refused, Err("failure_rate must be 0 unless `build_failing` says how calls fail".to_owned()));
    assert_eq!(handle.config(), FaultConfig::new());
}

#[test]
fn faults_are_read_from_a_file() {
    let text = "failure_rate = 0.1\nlatency = { long_tail = { median = \"20ms\", p99 = \"1s\" } }";
    let read: FaultConfig = toml::from_str(text).expect("valid");
    let latency = Latency::LongTail { median: Duration::from_millis(20), p99: SECOND };
    assert_eq!(read, FaultConfig::new().failure_rate(0.1).latency(latency));
    let written = toml::to_string(&read).expect("it can be written");
    assert_eq!(toml::from_str(&written), Ok(read));
    assert!(toml::from_str::<FaultConfig>("failures = 1").is_err());
}
