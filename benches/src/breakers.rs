//! Our breaker in each of its states, and the breakers of other crates.

use std::{
    pin::Pin,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use recloser::AsyncRecloser;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service};
use tower_reliability::{
    CircuitState,
    circuit_breaker::{CircuitBreaker, CircuitBreakerConfig, Window},
};

use crate::{
    drive::{Contender, drive, drive_many},
    inner::{Bare, Down, FAIL, OurError},
    other_crates::{self, Blocking, Waiting},
    threads::Crowd,
};

/// Our breaker around the bare service.
pub type Ours = CircuitBreaker<Bare<OurError>>;

/// The runtime inside which all are made and driven: some take its clock, or set its timers.
#[must_use]
pub fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("a runtime starts")
}

/// A breaker of ours with these numbers.
#[must_use]
pub fn ours(config: CircuitBreakerConfig) -> Ours {
    config.build().expect("the numbers of a bench are in range").layer(Bare::new())
}

/// Over the last 100 calls, the default.
#[must_use]
pub const fn count() -> CircuitBreakerConfig {
    CircuitBreakerConfig::new().window(Window::Calls(100)).open_for(DAY).max_open_for(DAY)
}

/// Over the last 10 s.
#[must_use]
pub const fn time() -> CircuitBreakerConfig {
    CircuitBreakerConfig::new().window(Window::Time(TEN_SECONDS)).open_for(DAY).max_open_for(DAY)
}

/// The bare service, with its own error type and with ours.
#[must_use]
pub fn bare() -> Vec<Contender> {
    vec![
        Contender::new("bare", Bare::<Down>::new()),
        Contender::new("bare, our error type", Bare::<OurError>::new()),
    ]
}

/// All breakers, closed.
#[must_use]
pub fn closed() -> Vec<Contender> {
    vec![
        Contender::new("ours, count 100", ours(count())),
        Contender::new("ours, time 10 s", ours(time())),
        Contender::new("ours, time 10 s, slow calls", ours(time().slow_call(Duration::from_secs(1), 0.5))),
        Contender::new("ours, consecutive 5", ours(CircuitBreakerConfig::consecutive(5))),
        Contender::new("recloser, count 100", Blocking(Arc::new(other_crates::recloser()))),
        Contender::new("recloser async, count 100", recloser_async()),
        Contender::new("failsafe, consecutive 5", Blocking(other_crates::failsafe_consecutive())),
        Contender::new("failsafe, rate 10 s", Blocking(other_crates::failsafe_rate(SPAN))),
        Contender::new(
            "failsafe async, rate 10 s",
            Waiting::new(other_crates::failsafe_rate(SPAN), Bare::<Down>::new()),
        ),
        Contender::new("seatbelt, rate 10 s", other_crates::seatbelt()),
        Contender::new("tower-resilience, count 100", other_crates::tower_resilience_count()),
        // Its window holds every call that it counts, so a long one would be measured by its memory.
        Contender::new("tower-resilience, time 1 ms", other_crates::tower_resilience_time(MOMENT)),
    ]
}

/// All breakers, open: failures tripped them, and they stay open for a day.
#[must_use]
pub fn open() -> Vec<Contender> {
    vec![
        Contender::new("ours, open", tripped(ours(count()))),
        Contender::new("recloser, open", tripped(Blocking(Arc::new(other_crates::recloser())))),
        Contender::new("recloser async, open", tripped(recloser_async())),
        Contender::new(
            "failsafe, consecutive, open",
            tripped(Blocking(other_crates::failsafe_consecutive())),
        ),
        Contender::new("failsafe, rate, open", tripped(Blocking(other_crates::failsafe_rate(MOMENT)))),
        Contender::new("seatbelt, open", tripped(other_crates::seatbelt())),
        Contender::new("tower-resilience, open", tripped(other_crates::tower_resilience_count())),
    ]
}

fn recloser_async() -> Waiting<AsyncRecloser> {
    Waiting::new(AsyncRecloser::from(other_crates::recloser()), Bare::new())
}

/// Ours on its way back. Each of these calls asks the state under its lock.
#[must_use]
pub fn half_way() -> Vec<Contender> {
    vec![
        Contender::new("ours, half-open, places taken", half_open()),
        Contender::new("ours, ramping, a tenth admitted", ramping()),
    ]
}

/// One breaker for all threads.
#[must_use]
pub fn shared() -> Vec<Crowd> {
    vec![
        Crowd::new("bare", Bare::<Down>::new()),
        Crowd::new("ours, count 100", ours(count())),
        Crowd::new("ours, time 10 s", ours(time())),
        Crowd::new("ours, open", tripped(ours(count()))),
        Crowd::new("recloser, count 100", Blocking(Arc::new(other_crates::recloser()))),
        Crowd::new("recloser async, count 100", recloser_async()),
        Crowd::new("failsafe, rate 10 s", Blocking(other_crates::failsafe_rate(SPAN))),
        Crowd::new("recloser, open", tripped(Blocking(Arc::new(other_crates::recloser())))),
    ]
}

/// A breaker of ours whose window over time holds calls for a day, and which failures do not trip while it holds a
/// healthy one.
#[must_use]
pub fn holding(calls: u64) -> Ours {
    let mut service = ours(time().window(Window::Time(DAY)).failure_rate(1.0));
    drive_many(&mut service, calls);
    service
}

/// The time that so many calls take while the window holds `held` calls, and at most a hundred more.
pub fn time_holding(service: &mut Ours, held: u64, request: u64, calls: u64) -> Duration {
    let mut took = Duration::ZERO;
    for begin in (0..calls).step_by(100) {
        // A large window may grow meanwhile; a small one has to start anew.
        if held < 100 {
            service.handle().reset();
            drive_many(service, held);
        }
        let found = u64::from(service.handle().snapshot().window_calls);
        assert!(found >= held, "the window holds what it was given");
        let chunk = 100.min(calls - begin);
        let start = Instant::now();
        (0..chunk).for_each(|_| drop(drive(service, request)));
        took += start.elapsed();
    }
    took
}

/// Fails until the breaker rejects.
fn tripped<S: Service<u64>>(mut service: S) -> S {
    for _ in 0..2 {
        (0..100).for_each(|_| drop(drive(&mut service, FAIL)));
        // Some judge only after a time.
        thread::sleep(2 * MOMENT);
    }
    assert!(drive(&mut service, 0).is_err(), "the breaker is open");
    service
}

fn half_open() -> Ours {
    let config = count().open_for(MOMENT).open_jitter(0.0).half_open_probes(1).half_open_successes(1);
    let mut service = tripped_briefly(config.probe_timeout(DAY));
    let probe: Pin<Box<_>> = Box::pin(service.call(0));
    // Never dropped, so that the probe keeps its place.
    std::mem::forget(probe);
    assert!(drive(&mut service, 0).is_err(), "all places are taken");
    assert_eq!(service.handle().state(), CircuitState::HalfOpen);
    service
}

fn ramping() -> Ours {
    let config = count().open_for(MOMENT).open_jitter(0.0).half_open_probes(1).half_open_successes(1);
    let mut service = tripped_briefly(config.ramp(DAY));
    drive(&mut service, 0).expect("the probe passes");
    assert_eq!(service.handle().state(), CircuitState::Ramping);
    service
}

/// Open, and just due to be half-open.
fn tripped_briefly(config: CircuitBreakerConfig) -> Ours {
    let mut service = ours(config);
    while service.handle().state() == CircuitState::Closed {
        drop(drive(&mut service, FAIL));
    }
    thread::sleep(2 * MOMENT);
    service
}

const SPAN: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_millis(10);
/// Longer than any bench.
const DAY: Duration = Duration::from_hours(24);
const TEN_SECONDS: Duration = Duration::from_secs(10);
