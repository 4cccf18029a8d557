//! A simulation of outages over the machine: how many calls reach the dead backend, and how soon service is back.

use std::time::Duration;

use super::driven::{Driven, FAILURE, SUCCESS};
use crate::{circuit_breaker::config::CircuitBreakerConfig, telemetry::CircuitState};

const CALL: Duration = Duration::from_millis(1);

/// One call every millisecond; the backend fails every call for `outage`, after steady health. Returns the calls that
/// reached the dead backend, and the time from the end of the outage until the circuit is closed.
fn outage(config: CircuitBreakerConfig, outage: Duration, seed: u64) -> (usize, Duration) {
    let mut machine = Driven::new(config);
    machine.state.rng = rand::SeedableRng::seed_from_u64(seed);
    machine.calls(1_000, SUCCESS);
    let (began, mut reached) = (machine.now, 0);
    while machine.now < began + outage || machine.state.state() != CircuitState::Closed {
        let dead = machine.now < began + outage;
        if let Ok(permit) = machine.admit() {
            reached += usize::from(dead);
            machine.end(permit, if dead { FAILURE } else { SUCCESS });
            machine.wait(CALL);
        } else {
            // The calls until then are rejected.
            let next = machine.state.next_timeout().expect("an open circuit ends");
            machine.now = next.max(machine.now + CALL);
        }
    }
    (reached, machine.now.saturating_duration_since(began + outage))
}

#[test]
fn an_outage_costs_few_calls_and_service_is_back_in_proportion() {
    const OUTAGES: u32 = 200;
    println!(
        "outage | calls that reached the dead backend: mean | service back after, in s: mean, worst of {OUTAGES}"
    );
    for (seconds, max_reached, max_back) in
        [(1, 60, 1.0), (5, 60, 1.0), (20, 80, 4.8), (60, 90, 13.0), (600, 130, 18.5), (3_600, 350, 18.5)]
    {
        let (mut reached, mut back, mut worst) = (0, 0.0, 0.0_f64);
        for n in 0..OUTAGES {
            let length = Duration::from_secs(seconds).mul_f64(1.0 + 0.002 * (f64::from(n) - 100.0));
            let (calls, delay) = outage(CircuitBreakerConfig::new(), length, n.into());
            reached += calls;
            back += delay.as_secs_f64() / f64::from(OUTAGES);
            worst = worst.max(delay.as_secs_f64());
        }
        let mean = reached / OUTAGES as usize;
        println!("{seconds:>5} s | {mean:>4} | {back:>5.2}, {worst:>5.2}");
        assert!(mean <= max_reached && worst <= max_back, "{mean} calls, back after {worst} s");
    }
}
