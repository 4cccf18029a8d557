//! The vectors of other implementations' own tests, driven through the public face.
//!
//! `tests/vectors/breaker.json` holds them with their sources. Left out are those of algorithms that are not ours:
//! `breaker.ema_count` and `breaker.backoff` (finagle: an average over calls, and its own delays) and
//! `breaker.polly` (that library's defaults).

use std::time::Duration;

use serde_json::Value;
use tokio::time::advance;
use tower_reliability::{
    CircuitState, ErrorClass, Reason, Rejected,
    circuit_breaker::{Abandoned, CircuitBreakerConfig, CircuitBreakerHandle, Window},
};

use crate::scripted::{Act, Answer, Bench, rejected};

/// Slower than this is slow where a vector says no more than "slow".
const SLOW: Duration = Duration::from_secs(4);

/// resilience4j's four probes at 50 %: two failures open it, so three must pass.
///
/// Its `max_wait_half_open` is left out: there a duration is told to the breaker, here it passes.
fn resilience4j() -> CircuitBreakerConfig {
    CircuitBreakerConfig::new()
        .failure_rate(0.5)
        .slow_call(SLOW, 0.5)
        .window(Window::Time(Duration::from_secs(20)))
        .min_requests(5)
        .open_for(Duration::from_secs(5))
        .open_jitter(0.0)
        .half_open_probes(4)
        .half_open_successes(3)
}

/// Over calls; judged from the first, by shares that are never asked because nothing trips.
fn counting(size: &Value) -> CircuitBreakerConfig {
    let size = u32::try_from(size.as_u64().expect("a size")).expect("a small size");
    CircuitBreakerConfig::new().window(Window::Calls(size)).min_requests(1).slow_call(SLOW, 0.5)
}

fn act(word: &Value) -> Act {
    match word.as_str().expect("a word") {
        "S" | "ok" => Act::GOOD,
        "E" | "err" => Act::BAD,
        "IGNORED" => Act::now(Answer::Unrelated),
        "429" => Act::now(Answer::Fail(ErrorClass::RateLimit)),
        "slow_ok" => Act::GOOD.after(SLOW * 2),
        "slow_err" => Act::BAD.after(SLOW * 2),
        word => panic!("{word} is no outcome"),
    }
}

fn seconds(value: &Value) -> Duration {
    Duration::from_secs_f64(value.as_f64().expect("seconds"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// As the vectors write it: in percent, and -1 where it says nothing.
fn percent(rate: Option<f64>) -> f64 {
    rate.map_or(-1.0, |rate| rate * 100.0)
}

fn assert_percent(rate: Option<f64>, expected: &Value) {
    let expected = expected.as_f64().expect("a rate");
    assert!((percent(rate) - expected).abs() < 1e-4, "{rate:?} is not {expected} %");
}

type Handle = CircuitBreakerHandle;

async fn run(given: &Value, expect: &Value, area: &str, name: &str) {
    match (area, name) {
        ("breaker.window.count", "empty window") => {
            // resilience4j's bare window says 0; our snapshot, like its breaker, says that it cannot say.
            let snapshot = Bench::new(counting(&given["size"])).handle.snapshot();
            assert_eq!((snapshot.window_calls, snapshot.failure_rate), (0, None));
        }
        ("breaker.window.count", _) => window_over_calls(given, expect).await,
        ("breaker.window.time", _) => window_over_time(given, expect).await,
        ("breaker.metrics", _) => metrics(given, expect).await,
        ("breaker.state", "threshold is >=: 3 of 6 = 50% opens") => {
            let bench = Bench::new(resilience4j());
            for (nth, call) in list(&given["calls_1s_apart"]).iter().enumerate() {
                assert_eq!(bench.handle.state(), CircuitState::Closed, "before call {nth}");
                let _ = bench.call(act(call)).await;
                advance(Duration::from_secs(1)).await;
            }
            assert_eq!(bench.handle.state().as_str(), expect["state_after_6"]);
        }
        ("breaker.state", "slow rate opens") => {
            let bench = Bench::new(resilience4j());
            for call in list(&given["calls_s"]) {
                let _ = bench.call(act(&call[0]).after(seconds(&call[1]))).await;
            }
            let snapshot = bench.handle.snapshot();
            assert_eq!(snapshot.state.as_str(), expect["state"]);
            // 3 of 5, as there; the window of a circuit that has opened is empty, so the trip tells.
            let trip = snapshot.last_trip.expect("it tripped").to_string();
            assert_eq!(trip, "3 of 5 calls were slow");
        }
        ("breaker.state", "release gives a probe back") => probes_given_back(expect).await,
        ("breaker.state", "forced open never half-opens") => {
            let bench = Bench::new(resilience4j());
            bench.handle.force_open();
            for delay in [Duration::ZERO, Duration::from_secs(6)] {
                advance(delay).await;
                let answer = bench.call(Act::GOOD).await;
                assert!(matches!(rejected(&answer).map(Rejected::reason), Some(Reason::CircuitOpen(_))));
            }
            let snapshot = bench.handle.snapshot();
            assert_eq!(snapshot.state.as_str(), expect["state"]);
            assert_eq!(snapshot.counts.rejected, expect["not_permitted_counted"].as_u64().expect("a count"));
        }
        ("breaker.state", "disabled admits all, records nothing") => {
            let bench = Bench::new(resilience4j());
            bench.handle.disable();
            for call in list(&given["calls"]) {
                assert!(rejected(&bench.call(act(call)).await).is_none());
            }
            assert_eq!(bench.handle.snapshot().window_calls, 0);
        }
        ("breaker.state", "closed -> half_open is illegal") => {
            // It cannot even be asked for: no override leads there.
            let handle = Bench::new(resilience4j()).handle;
            for set in
                [Handle::reset, Handle::force_open, Handle::force_close, Handle::disable, Handle::shadow]
            {
                set(&handle);
                assert_ne!(handle.state(), CircuitState::HalfOpen);
            }
        }
        ("breaker.state", _) => half_open(given, expect, name).await,
        _ => run_linkerd_and_finagle(given, expect, area, name).await,
    }
}

async fn run_linkerd_and_finagle(given: &Value, expect: &Value, area: &str, name: &str) {
    match (area, name) {
        ("breaker.window.linkerd", "zero tolerance") => {
            // Their threshold is of successes: all of them. Ours is of failures: any of them.
            let config = CircuitBreakerConfig::new().failure_rate(f64::MIN_POSITIVE).min_requests(4);
            let bench = Bench::new(config);
            for (nth, call) in list(&given["calls"]).iter().enumerate() {
                let _ = bench.call(act(call)).await;
                assert_eq!(bench.handle.state() == CircuitState::Open, nth == 3);
            }
        }
        ("breaker.window.linkerd", _) => {
            for spacing in [Duration::ZERO, Duration::from_secs(1)] {
                let bench = Bench::new(CircuitBreakerConfig::new().failure_rate(0.5).min_requests(5));
                let mut sample = 0;
                while bench.handle.state() == CircuitState::Closed {
                    advance(spacing).await;
                    let _ = bench.call(Act::BAD).await;
                    sample += 1;
                }
                assert_eq!(Value::from(vec![sample, sample]), expect["trips_at_sample"]);
            }
        }
        ("breaker.consecutive", _) => {
            let config =
                CircuitBreakerConfig::consecutive(3).open_for(Duration::from_secs(5)).open_jitter(0.0);
            let bench = Bench::new(config);
            for (call, dead) in list(&given["calls"]).iter().zip(list(&expect["dead_after_each"])) {
                let _ = bench.call(act(call)).await;
                let retry_after = bench.handle.snapshot().retry_after.map(|delay| delay.as_secs());
                assert_eq!(retry_after, dead.as_u64());
            }
        }
        ("breaker.classify", _) => {
            let bench =
                Bench::new(CircuitBreakerConfig::consecutive(1).half_open_probes(1).half_open_successes(1));
            let call = act(&given["linkerd"][0]);
            let _ = bench.call(call).await;
            let snapshot = bench.handle.snapshot();
            assert_eq!(u64::from(snapshot.consecutive_failures), expect["consecutive_count"]);
            assert_eq!(u64::from(snapshot.window_failures), expect["window_failure"]);
            bench.half_open().await;
            let _ = bench.call(call).await;
            assert_eq!(bench.handle.state() == CircuitState::Closed, expect["probe_ok"]);
        }
        _ => panic!("no test drives the vector {area}: {name}"),
    }
}

async fn window_over_calls(given: &Value, expect: &Value) {
    let bench = Bench::new(counting(&given["size"]));
    bench.handle.force_close();
    let calls = given.get("outcomes").or_else(|| given.get("calls")).expect("calls");
    for (nth, call) in list(calls).iter().enumerate() {
        let call = call.get(1).unwrap_or(call);
        let _ = bench.call(act(call)).await;
        let snapshot = bench.handle.snapshot();
        let (total, failed, slow) = (snapshot.window_calls, snapshot.window_failures, snapshot.window_slow);
        for (rates, rate) in
            [("failure_rate_after_each", snapshot.failure_rate), ("failure_rate", snapshot.failure_rate)]
        {
            expect.get(rates).into_iter().for_each(|rates| assert_percent(rate, &rates[nth]));
        }
        for (counts, count) in [("total_calls", total), ("failed", failed), ("slow_after_each", slow)] {
            expect
                .get(counts)
                .into_iter()
                .for_each(|counts| assert_eq!(count, counts[nth], "after call {nth}"));
        }
    }
    let snapshot = bench.handle.snapshot();
    expect.get("slow").into_iter().for_each(|slow| assert_eq!(snapshot.window_slow, *slow));
    expect
        .get("ok")
        .into_iter()
        .for_each(|ok| assert_eq!(snapshot.window_calls - snapshot.window_failures, *ok));
    expect.get("slow_rate").into_iter().for_each(|rate| assert_percent(snapshot.slow_call_rate, rate));
}

async fn window_over_time(given: &Value, expect: &Value) {
    let config =
        CircuitBreakerConfig::new().window(Window::Time(seconds(&given["window_s"]))).min_requests(1);
    let bench = Bench::new(config);
    bench.handle.force_close();
    let start = tokio::time::Instant::now();
    for event in list(&given["events"]) {
        let at: f64 =
            event[0].as_str().and_then(|at| at.strip_prefix("t=")).expect("t=").parse().expect("seconds");
        advance((start + Duration::from_secs_f64(at)).saturating_duration_since(tokio::time::Instant::now()))
            .await;
        let failed = event[1].as_str().expect("a word").ends_with("err");
        let _ = bench.call(if failed { Act::BAD } else { Act::GOOD }).await;
    }
    for at in list(&given["read_at_s"]) {
        advance((start + seconds(at)).saturating_duration_since(tokio::time::Instant::now())).await;
        let (snapshot, expected) = (bench.handle.snapshot(), &expect[format!("at_{at}")]);
        assert_eq!(snapshot.window_calls, expected["total"]);
        assert_eq!(snapshot.window_failures, expected["failed"]);
    }
}

async fn metrics(given: &Value, expect: &Value) {
    let bench = Bench::new(counting(&given["window"]).min_requests(10));
    bench.handle.force_close();
    for call in list(&given["calls"]) {
        let _ = bench.call(act(call)).await;
    }
    let snapshot = bench.handle.snapshot();
    assert_eq!(snapshot.window_calls, expect["buffered"]);
    assert_percent(snapshot.failure_rate, &expect["failure_rate"]);
}

async fn probes_given_back(expect: &Value) {
    let bench = Bench::new(resilience4j());
    bench.half_open().await;
    // There all four are out at once; ours sends one, and the others when it has passed.
    bench.call(Act::GOOD).await.expect("the first probe passes");
    let mut probes: Vec<_> = (1..4).map(|_| Box::pin(bench.call(Act::HANG))).collect();
    for probe in &mut probes {
        assert!(futures::poll!(probe.as_mut()).is_pending());
    }
    assert_eq!(rejected(&bench.call(Act::GOOD).await).is_none(), expect["fifth"]);
    let unrelated = bench.handle.snapshot();
    assert_eq!(unrelated.counts.rejected, 1);
    bench.handle.update(resilience4j().abandoned(Abandoned::Ignore)).expect("valid");
    drop(probes.pop());
    assert_eq!(rejected(&bench.call(Act::GOOD).await).is_none(), expect["after_release"]);
}

async fn half_open(given: &Value, expect: &Value, name: &str) {
    let bench = Bench::new(resilience4j());
    bench.half_open().await;
    let mut states = Vec::new();
    let timed = given.get("calls_s").is_some();
    for call in list(given.get("calls_s").or_else(|| given.get("calls")).expect("calls")) {
        let call = if timed { act(&call[0]).after(seconds(&call[1])) } else { act(call) };
        let _ = bench.call(call).await;
        states.push(bench.handle.state().as_str());
    }
    if name == "ignored outcome returns the probe permit" {
        // resilience4j waits for the fourth recorded probe. Our result comes with the third probe that passes, because no
        // further probe can change it. So our circuit closes two calls earlier, and the last failure is the first in its
        // window.
        assert_eq!(states, ["half_open", "half_open", "closed", "closed", "closed"]);
        assert_eq!(bench.handle.snapshot().window_failures, 1);
        return;
    }
    if states[0] == "open" && expect["state"] == "closed" {
        // There one bad probe of four is tolerated wherever it stands; ours reopens when the first one fails, so that a
        // backend that is still down gets a single call.
        assert_ne!(act(&list(&given["calls"])[0]), Act::GOOD);
        return;
    }
    // "half-open 3 of 4 fail" and "half-open slow 3 of 4" are open with an earlier bad probe, for the same reason.
    assert_eq!(states.last().copied(), expect["state"].as_str(), "{states:?}");
    if expect["state"] == "closed" {
        let snapshot = bench.handle.snapshot();
        assert_eq!(snapshot.window_calls, expect["buffered"]);
        assert_percent(snapshot.failure_rate, &expect["failure_rate"]);
    } else {
        let open = states.iter().filter(|state| **state == "open").count() as u64;
        assert_eq!(bench.handle.snapshot().counts.rejected, open - 1);
    }
}

#[tokio::test(start_paused = true)]
async fn every_vector_holds_or_differs_on_purpose() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/breaker.json")).expect("valid JSON");
    let vectors = list(&vectors);
    assert_eq!(vectors.len(), 21);
    for vector in vectors {
        let word = |key: &str| vector[key].as_str().expect("a word");
        println!("{}: {}", word("area"), word("name"));
        run(&vector["given"], &vector["expect"], word("area"), word("name")).await;
    }
}
