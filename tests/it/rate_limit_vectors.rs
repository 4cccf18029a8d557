//! The rate-limit vectors of other implementations, driven through the public API.
//!
//! `tests/vectors/ratelimit.json` holds them with their sources. Left out are vectors of rules that this crate decides
//! otherwise:
//!
//! - `ratelimit.smooth`, "1 per 100 ns": the fastest rate is a call per microsecond, and timers fire once per millisecond;
//! - `ratelimit.smooth`, of "1 per 500 ms" the step after an idle time: its calls keep to a grid of intervals;
//! - `ratelimit.bursty`: its calls take tokens of periods to come, which no call of ours can give back;
//! - `ratelimit.cycle` about skipped cycles, and `ratelimit.token_bucket`: tokens that come in lots; ours come evenly;
//! - `ratelimit.sliding` about weighted windows: they may admit more than the limit in a window. Ours stops the burst;
//! - `ratelimit.warmup`: this crate has no rate that rises.

use std::{future::ready, time::Duration};

use futures::future::join_all;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_reliability::{
    BoxError, Reason, Rejected,
    rate_limit::{RateLimitConfig, RateLimitLayer, UnitCost},
};

type Costly = RateLimitLayer<tower_reliability::NoPriority, tower_reliability::NoDeadline, fn(&u32) -> u32>;

fn vector(area: &str, name: &str) -> Value {
    let all: Vec<Value> =
        serde_json::from_str(include_str!("../vectors/ratelimit.json")).expect("the file is JSON");
    let found = all
        .into_iter()
        .find(|it| it["area"] == area && it["name"].as_str().is_some_and(|it| it.starts_with(name)));
    found.unwrap_or_else(|| panic!("there is no vector {area}, {name}"))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|it| it.as_f64().expect("a number")).collect()
}

fn costly(config: RateLimitConfig) -> Costly {
    config.build().expect("valid").cost(|cost: &u32| *cost)
}

async fn call<K>(
    layer: &RateLimitLayer<tower_reliability::NoPriority, tower_reliability::NoDeadline, K>,
    cost: u32,
) -> Result<(), Rejected>
where
    K: Clone + tower_reliability::rate_limit::CostSource<u32>,
{
    let service = layer.layer(service_fn(|_: u32| ready(Ok::<_, BoxError>(()))));
    service.oneshot(cost).await.map_err(|error| error.downcast_ref::<Rejected>().expect("rejected").clone())
}

#[tokio::test(start_paused = true)]
async fn redis_cell_traces_a_bucket_with_costs() {
    let vector = vector("ratelimit.gcra", "limit 5");
    let layer = costly(RateLimitConfig::per_second(1).burst(5));
    let begin = Instant::now();
    for row in vector["expect"]["rows"].as_array().expect("rows") {
        let row = numbers(row_without_flag(row).as_ref());
        let [number, at, cost, limited, remaining, reset, retry] = row[..] else { panic!("seven columns") };
        sleep_until(begin + Duration::from_secs_f64(at)).await;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small whole number")]
        let result = call(&layer, cost as u32).await;
        let tokens = layer.handle().snapshot().tokens.expect("a bucket");
        assert_eq!((result.is_err(), f64::from(tokens)), (limited > 0.0, remaining), "row {number}");
        // The reset time is the time of the tokens that are missing, of which one may be half there.
        assert!((reset - f64::from(5 - tokens)).abs() <= 1.0, "row {number}");
        if let Err(rejected) = result {
            let after = rejected.retry_after().map_or(-1.0, |it| it.as_secs_f64());
            assert!((after - retry).abs() < 1e-6, "row {number}: {after}");
            assert_eq!(matches!(rejected.reason(), Reason::CostTooHigh { .. }), retry < 0.0);
        }
    }
}

/// The row with 1 for true.
fn row_without_flag(row: &Value) -> std::borrow::Cow<'_, Value> {
    let number = |it: &Value| it.as_bool().map_or_else(|| it.clone(), |it| u8::from(it).into());
    std::borrow::Cow::Owned(row.as_array().expect("a row").iter().map(number).collect())
}

#[tokio::test(start_paused = true)]
async fn redis_cell_counts_the_burst_beside_the_first_call_and_refuses_a_rate_of_zero() {
    let throttle = vector("ratelimit.gcra", "CL.THROTTLE");
    let layer = costly(RateLimitConfig::per(30, Duration::from_secs(60)).burst(16));
    call(&layer, 1).await.expect("it is not limited");
    assert_eq!(Value::from(layer.handle().snapshot().tokens), throttle["expect"]["reply"][2]);
    let zero = vector("ratelimit.gcra", "zero rate");
    assert_eq!(zero["expect"]["rate0"], "error");
    assert!(RateLimitConfig::per_second(0).build().is_err());
}

#[tokio::test(start_paused = true)]
async fn failsafe_serves_waiting_calls_one_per_interval() {
    let vector = vector("ratelimit.smooth", "1 per 500 ms");
    let config =
        RateLimitConfig::per(1, Duration::from_millis(500)).burst(1).max_wait(Duration::from_secs(60));
    let layer = config.build().expect("valid");
    let begin = Instant::now();
    let steps = vector["given"]["ops_t_ms_n"].as_array().expect("a list").iter();
    let waits = numbers(&vector["expect"]["last_wait_ms"]);
    let mut running = Vec::new();
    for step in steps {
        let at = Duration::from_millis(step[0].as_u64().expect("a time"));
        sleep_until(begin + at).await;
        let mut last = None;
        for _ in 0..step[1].as_u64().unwrap_or(7) {
            let mut service = layer.layer(service_fn(|()| ready(Ok::<_, BoxError>(()))));
            last = Some(tokio::spawn(async move {
                service.call(()).await.expect("it is served");
                begin.elapsed().saturating_sub(at).as_millis()
            }));
            tokio::task::yield_now().await;
        }
        running.push(last.expect("every step has calls"));
    }
    let waits: Vec<_> = waits.into_iter().map(|wait| format!("{wait}")).collect();
    let waited: Vec<_> =
        join_all(running).await.into_iter().map(|it| it.expect("no panic").to_string()).collect();
    let steps = |waits: &[String]| [&waits[..4], &waits[5..]].concat();
    assert_eq!(steps(&waited), steps(&waits));
}

#[tokio::test(start_paused = true)]
async fn resilience4j_grants_one_call_per_cycle_and_one_that_waits() {
    let granted = vector("ratelimit.cycle", "no wait");
    let cycle = Duration::from_secs(1);
    let layer = RateLimitConfig::per(1, cycle).build().expect("valid").cost(UnitCost);
    let mut results = Vec::new();
    for at in [1, 1, 2, 2] {
        results.push((at, call(&layer, 1).await.is_ok()));
        if results.len() == 2 {
            tokio::time::advance(cycle).await;
        }
    }
    let expected: Vec<_> =
        granted["expect"]["granted"].as_array().expect("a list").iter().map(Value::as_bool).collect();
    assert_eq!(results.iter().map(|(_, granted)| Some(*granted)).collect::<Vec<_>>(), expected);

    let reserved = vector("ratelimit.cycle", "reservation");
    assert_eq!(reserved["expect"]["wait"], serde_json::json!(["0", "<=1C", "-1 (refused)"]));
    let config = RateLimitConfig::per(1, cycle).max_wait(cycle + Duration::from_millis(1));
    let layer = config.build().expect("valid");
    let begin = Instant::now();
    let ends = join_all((0..3).map(|_| async { (call(&layer, 1).await.is_ok(), begin.elapsed()) })).await;
    assert_eq!(ends, [(true, Duration::ZERO), (true, cycle), (false, Duration::ZERO)]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_on_both_sides_of_a_boundary_is_stopped() {
    let vector = vector("ratelimit.sliding", "boundary burst");
    let layer = RateLimitConfig::sliding_window(100, Duration::from_secs(60)).build().expect("valid");
    let begin = Instant::now();
    let mut admitted = [0, 0];
    for (at, admitted) in [59_900, 60_100].into_iter().zip(&mut admitted) {
        sleep_until(begin + Duration::from_millis(at)).await;
        for _ in 0..100 {
            *admitted += u64::from(call(&layer, 1).await.is_ok());
        }
    }
    assert_eq!(admitted[0], 100);
    assert_eq!(Some(admitted[1]), vector["expect"]["sliding_log_admits_second"].as_u64());
}
