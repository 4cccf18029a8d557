//! Our breaker in each of its states, and the breakers of other crates.

use std::{
    pin::Pin,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use recloser::AsyncRecloser;
use tower::{Layer, Service};
use tower_reliability::{
    CircuitState,
    circuit_breaker::{CircuitBreaker, CircuitBreakerConfig, Window},
};

use crate::{
    backend::{Backend, Bare, Down, FAIL, OurError, ReadingClock},
    drive::{drive, drive_many},
    other_crates::{self, Blocking, Waiting},
    row::Table,
};

/// Our breaker around the bare service.
pub type Ours = CircuitBreaker<Bare<OurError>>;

/// A breaker of ours with these numbers.
#[must_use]
pub fn ours(config: CircuitBreakerConfig) -> Ours {
    config.build().expect(VALID).layer(Bare::new())
}

/// Over the last 100 calls, the default.
#[must_use]
pub const fn count() -> CircuitBreakerConfig {
    CircuitBreakerConfig::new().window(Window::Calls(100)).open_for(DAY).max_open_for(DAY)
}

/// Over the last 10 s.
#[must_use]
pub const fn time() -> CircuitBreakerConfig {
    CircuitBreakerConfig::new().window(Window::Time(SPAN)).open_for(DAY).max_open_for(DAY)
}

/// Closed breakers over calls and over time, in the form that an async program uses.
pub fn add<const PENDING: bool>(table: &mut Table<PENDING>) {
    let (inner, bare) = (Backend::<OurError, PENDING>::new(), Backend::<Down, PENDING>::new());
    let recloser = Waiting::new(AsyncRecloser::from(other_crates::recloser()), bare);
    table.row("ours, breaker, count 100", count().build().expect(VALID).layer(inner));
    table.row("recloser async, count 100", recloser.clone());
    table.row("recloser async, count 100, reading the clock", ReadingClock(recloser));
    table.row("ours, breaker, time 10 s", time().build().expect(VALID).layer(inner));
    table.row("failsafe async, rate 10 s", Waiting::new(other_crates::failsafe_rate(SPAN), bare));
    table.row("seatbelt, rate 10 s", other_crates::seatbelt(bare));
    table.row("tower-resilience, count 100", other_crates::tower_resilience_count(bare));
}

/// Closed breakers that only the table of calls that are ready at once has: further windows, and the closure forms.
pub fn add_forms(table: &mut Table<false>) {
    let recloser = Blocking(Arc::new(other_crates::recloser()));
    table.row("ours, time 10 s, slow calls", ours(time().slow_call(Duration::from_secs(1), 0.5)));
    table.row("ours, consecutive 5", ours(CircuitBreakerConfig::consecutive(5)));
    table.row("recloser, count 100", recloser);
    table.row("failsafe, consecutive 5", Blocking(other_crates::failsafe_consecutive()));
    table.row("failsafe, rate 10 s", Blocking(other_crates::failsafe_rate(SPAN)));
    // Its window holds every call that it counts, so a long one would be measured by its memory.
    table
        .row("tower-resilience, time 1 ms", other_crates::tower_resilience_time(MOMENT, Bare::<Down>::new()));
}

/// All breakers, open: failures tripped them, and they stay open for a day. recloser reads the clock too.
pub fn add_open(table: &mut Table<false>) {
    let bare = Bare::<Down>::new();
    let recloser = Waiting::new(AsyncRecloser::from(other_crates::recloser()), bare);
    table.row("ours, open", tripped(ours(count())));
    table.row("recloser, open", tripped(Blocking(Arc::new(other_crates::recloser()))));
    table.row("recloser async, open", tripped(recloser));
    table.row("failsafe, consecutive, open", tripped(Blocking(other_crates::failsafe_consecutive())));
    table.row("failsafe, rate, open", tripped(Blocking(other_crates::failsafe_rate(MOMENT))));
    table.row("seatbelt, open", tripped(other_crates::seatbelt(bare)));
    table.row("tower-resilience, open", tripped(other_crates::tower_resilience_count(bare)));
}

/// Ours on its way back. Each of these calls asks the state under its lock.
pub fn add_half_way(table: &mut Table<false>) {
    table.row("ours, half-open, places taken", half_open());
    table.row("ours, ramping, a tenth admitted", ramping());
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
pub const DAY: Duration = Duration::from_hours(24);
/// Why a config that the benches chose builds.
pub const VALID: &str = "the numbers of a bench are in range";
