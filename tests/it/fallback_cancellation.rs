//! A call with a fallback counts once and releases its resources, however it ends.

use std::{
    future::pending,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, poll};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::advance;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_reliability::{
    Error, ErrorClass, Reason,
    fallback::{FallbackConfig, FallbackSnapshot},
};

use crate::fallback_peer::{DOWN, Peer, Say, TIMEOUT, by_number, layer, say};

const ON_SERVER: FallbackConfig = FallbackConfig::new().on(ErrorClass::Server);

fn abandoned(snapshot: FallbackSnapshot) -> (u64, u64, u64) {
    (snapshot.answered(), snapshot.unanswered, snapshot.abandoned)
}

#[tokio::test(start_paused = true)]
async fn case_07_a_call_dropped_before_its_first_poll_or_while_it_runs_is_not_counted() {
    let layer = layer(ON_SERVER).service(Peer::default()).classify(by_number);
    let mut service = layer.layer(service_fn(say));
    drop(service.call(DOWN));
    let mut running = Box::pin(service.call(Say::Hang));
    assert!(poll!(&mut running).is_pending());
    drop(running);
    assert_eq!(layer.handle().snapshot(), FallbackSnapshot::default());
}

#[tokio::test(start_paused = true)]
async fn case_07_a_call_dropped_while_the_fallback_becomes_ready_gives_its_place_in_the_queue_back() {
    let other = ServiceBuilder::new().concurrency_limit(1).service(service_fn(say));
    let mut holder = other.clone();
    holder.ready().await.expect("ready");
    let layer = layer(ON_SERVER).service(other.clone()).classify(by_number);
    let mut call = Box::pin(layer.layer(service_fn(say)).oneshot(DOWN));
    assert!(poll!(&mut call).is_pending());
    assert_eq!(abandoned(layer.handle().snapshot()), (0, 0, 0), "it is not over");
    drop(call);
    assert_eq!(abandoned(layer.handle().snapshot()), (0, 0, 1));
    drop(holder);
    assert_eq!(other.oneshot(Say::Number(1)).now_or_never(), Some(Ok(1)), "the place is free");
}

#[tokio::test(start_paused = true)]
async fn case_07_a_call_dropped_while_the_fallback_works_drops_its_call_too() {
    let alive = Arc::new(());
    let other = {
        let alive = Arc::clone(&alive);
        service_fn(move |_: Say| {
            let held = Arc::clone(&alive);
            async move {
                let answer = pending::<Result<u32, Error<Say>>>().await;
                drop(held);
                answer
            }
        })
    };
    let layer = layer(ON_SERVER).service(other).classify(by_number);
    let mut service = layer.layer(service_fn(say));
    let mut call = Box::pin(service.call(DOWN));
    assert!(poll!(&mut call).is_pending());
    drop((service, layer.clone()));
    drop(call);
    assert_eq!(abandoned(layer.handle().snapshot()), (0, 0, 1));
    drop(layer);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[tokio::test(start_paused = true)]
async fn case_07_a_call_dropped_after_its_end_is_counted_once() {
    let layer = layer(ON_SERVER).value(7).classify(by_number);
    let mut service = layer.layer(service_fn(say));
    let mut call = Box::pin(service.call(DOWN));
    assert!(poll!(&mut call).is_ready());
    let again = AssertUnwindSafe(async { poll!(&mut call) }).catch_unwind().await;
    assert!(again.is_err(), "it is against the rules");
    drop(call);
    assert_eq!(abandoned(layer.handle().snapshot()), (1, 0, 0));
}

/// Counts its living clones.
struct Copy(Arc<AtomicUsize>);

impl Clone for Copy {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn the_copy_of_a_request_is_gone_when_its_call_is_over() {
    let alive = Arc::new(AtomicUsize::new(1));
    let other = service_fn(|_: Copy| async { Ok::<u32, Error<Say>>(7) });
    let mut service =
        layer(ON_SERVER).service(other).classify(by_number).layer(service_fn(|_: Copy| say(Say::Slowly(1))));
    let mut call = Box::pin(service.call(Copy(Arc::clone(&alive))));
    assert!(poll!(&mut call).is_pending());
    assert_eq!(alive.load(Ordering::SeqCst), 1, "the copy; the backend has dropped the request");
    advance(Duration::from_secs(1)).await;
    assert!(poll!(&mut call).is_ready());
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn the_inner_call_is_dropped_before_the_fallback_starts() {
    let held = Arc::new(());
    let seen = Arc::clone(&held);
    let layer = layer(ON_SERVER)
        .with(move |_: Result<&u32, &Error<Say>>| u32::try_from(Arc::strong_count(&seen)).ok())
        .classify(by_number);
    let service = layer.layer(service_fn(|what| {
        let held = Arc::clone(&held);
        async move {
            let answer = say(what).await;
            drop(held);
            answer
        }
    }));
    assert_eq!(service.oneshot(DOWN).await, Ok(2), "one here and one in the function");
}

#[tokio::test(start_paused = true)]
async fn case_08_a_panic_passes_through_and_is_counted_and_later_calls_work() {
    fn panic_quietly() -> ! {
        std::panic::resume_unwind(Box::new("on purpose"))
    }
    let remembers = layer(ON_SERVER)
        .last_good(|what: &Say| match what {
            Say::Number(13) => panic_quietly(),
            _ => Some(()),
        })
        .classify(by_number);
    let (handle, mut service) = (remembers.handle(), remembers.layer(service_fn(say)));
    assert_eq!(service.call(Say::Number(2)).await, Ok(2));
    assert!(std::panic::catch_unwind(AssertUnwindSafe(|| service.call(Say::Number(13)))).is_err());
    assert_eq!(service.call(DOWN).await, Ok(2));
    assert_eq!(abandoned(handle.snapshot()), (1, 0, 0));

    let layer = layer(ON_SERVER)
        .with(|result: Result<&u32, &Error<Say>>| match result {
            Ok(_) => Some(7),
            Err(_) => panic_quietly(),
        })
        .classify(by_number);
    let (handle, mut service) = (layer.handle(), layer.layer(service_fn(say)));
    assert!(AssertUnwindSafe(service.call(DOWN)).catch_unwind().await.is_err());
    assert_eq!(service.call(Say::Number(500)).await, Ok(7));
    assert_eq!(abandoned(handle.snapshot()), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn case_61_of_ten_thousand_calls_none_is_lost_and_none_counted_twice() {
    const SEED: u64 = 61;
    let mut rng = StdRng::seed_from_u64(SEED);
    let config = FallbackConfig::new().on(ErrorClass::Server).on(ErrorClass::Timeout);
    let caught = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&caught);
    let classify = move |result: Result<&u32, &Error<Say>>| {
        let outcome = by_number(result);
        let is_caught = matches!(outcome.class(), Some(ErrorClass::Server | ErrorClass::Timeout))
            || matches!(result, Err(Error::Rejected(_)));
        count.fetch_add(usize::from(is_caught), Ordering::SeqCst);
        outcome
    };
    // The answer of the other service is drawn when it is called.
    let draw = Arc::new(std::sync::Mutex::new(StdRng::seed_from_u64(SEED + 1)));
    let other = Peer::default().map_request(move |_: Say| {
        match draw.lock().expect("no thread panics with it").random_range(0..4) {
            0 => Say::Hang,
            1 => Say::Slowly(7),
            2 => DOWN,
            _ => Say::Number(7),
        }
    });
    let layer = config.build().expect("valid").service(other).classify(classify);
    let (handle, mut service) = (layer.handle(), layer.layer(service_fn(say)));
    let mut out = Vec::new();
    for _ in 0..10_000 {
        let what = match rng.random_range(0..8) {
            0 => Say::Fail(ErrorClass::ALL[rng.random_range(0..7)]),
            1 => Say::Number(503),
            2 => Say::TurnAway(TIMEOUT),
            3 => Say::TurnAway(Reason::ProbesTaken),
            4 => Say::Unrelated,
            5 => Say::Hang,
            6 => Say::Slowly(500),
            _ => Say::Number(1),
        };
        let mut call = Box::pin(service.call(what));
        if rng.random_bool(0.95) && poll!(&mut call).is_pending() {
            out.push(call);
        }
        if rng.random_bool(0.1) {
            advance(Duration::from_millis(200)).await;
        }
        if out.len() > 50 {
            let mut call = out.swap_remove(rng.random_range(0..out.len()));
            let _ = poll!(&mut call);
        }
    }
    drop(out);
    let (answered, unanswered, abandoned) = abandoned(handle.snapshot());
    let caught = caught.load(Ordering::SeqCst) as u64;
    assert_eq!(answered + unanswered + abandoned, caught, "seed {SEED}");
    assert!(answered > 500 && unanswered > 500 && abandoned > 500, "seed {SEED}: {:?}", handle.snapshot());
}
