//! Published vectors about hedges: "The Tail at Scale", Polly, failsafe-go.
//!
//! `tests/vectors/hedge.json` holds them with their sources. Where failsafe-go's retry returns an error of its own
//! when its budget is used up, the retry here returns the backend's failure, and counts the reason.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tokio::time::Instant;
use tower::{Layer, ServiceExt};
use tower_reliability::{
    Error, ErrorClass, Protocol,
    hedge::{HedgeConfig, HedgeLayer},
    retry::RetryConfig,
    retry_budget::{RetryBudget, RetryBudgetConfig},
};

use crate::{
    hedge_learns::millis,
    hedge_script::{FIXED, fails, layer},
    scripted::{Act, Answered, ByPeer, Peer, Script},
};

/// The input of a vector, and its expected result.
fn vector(name: &str) -> (Value, Value) {
    let all: Vec<Value> = serde_json::from_str(include_str!("../vectors/hedge.json")).expect("it is JSON");
    let vector = all.iter().find(|vector| vector["name"] == name).expect("there is such a vector");
    (vector["given"].clone(), vector["expect"].clone())
}

/// One call. Returns the answer and the times of the requests.
async fn call(hedge: &HedgeLayer<Protocol<ByPeer>>, acts: &[Act]) -> (Answered, Vec<u128>) {
    let script = Script::new(acts.iter().copied());
    (hedge.layer(script.service()).oneshot(()).await, script.asked())
}

/// The share of pages on which one call of `fanout` is slow, each of which is slow with this probability.
async fn slow_pages(hedge: &HedgeLayer<Protocol<ByPeer>>, fanout: u64, p_slow: f64) -> f64 {
    let (mut random, mut slow) = (StdRng::seed_from_u64(1), 0);
    for _ in 0..PAGES {
        let mut is_slow = false;
        for _ in 0..fanout {
            let acts =
                [(); 2].map(|()| Act::GOOD.after(if random.random_bool(p_slow) { SLOW } else { FAST }));
            let began = Instant::now();
            call(hedge, &acts).await.0.expect("it does well");
            is_slow |= began.elapsed() >= SLOW;
        }
        slow += u32::from(is_slow);
    }
    f64::from(slow) / f64::from(PAGES)
}

#[tokio::test(start_paused = true)]
async fn a_page_of_many_calls_is_often_slow_and_with_a_hedge_it_is_not() {
    let (given, expect) = vector("tail arithmetic");
    let (p_slow, fanout) = (given["p_slow"].as_f64(), given["fanout"].as_u64());
    let (p_slow, fanout) = (p_slow.expect("a share"), fanout.expect("a number"));
    let expected = expect["p_any_slow"].as_f64().expect("a share");
    let without = slow_pages(&layer(HedgeConfig::on_failure()), fanout, p_slow).await;
    // Four standard deviations.
    let give = 4.0 * (expected * (1.0 - expected) / f64::from(PAGES)).sqrt();
    assert!((without - expected).abs() < give, "{without}");
    let with = slow_pages(&layer(HedgeConfig::fixed(FAST * 2)), fanout, p_slow).await;
    assert!(with < expected / 10.0, "{with}");
}

#[tokio::test(start_paused = true)]
async fn a_hedge_at_the_p95_costs_a_twentieth_more_requests() {
    let (given, expect) = vector("two copies sent at p95");
    assert_eq!(given["p95"], true);
    let hedge = layer(HedgeConfig::quantile(0.95)).budget(RetryBudget::unlimited());
    let mut random = StdRng::seed_from_u64(2);
    let mut calls = async |count: u32| {
        for _ in 0..count {
            let acts = [(); 2].map(|()| Act::GOOD.after(millis(random.random_range(1..=100))));
            call(&hedge, &acts).await.0.expect("it does well");
        }
        hedge.handle().snapshot().counts.hedges
    };
    let learning = calls(1_000).await;
    let hedges = calls(4_000).await - learning;
    let extra = f64::from(u32::try_from(hedges).expect("few")) / 4_000.0;
    assert!((extra - expect["extra_load"].as_f64().expect("a share")).abs() < 0.02, "{extra}");
}

#[tokio::test(start_paused = true)]
async fn each_mode_of_polly_is_one_of_ours() {
    let (given, expect) = vector("Polly modes");
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let modes: Vec<_> = texts(&given["delay"]).into_iter().zip(texts(&expect["mode"])).collect();
    assert_eq!(modes.len(), 3);
    for (delay, mode) in modes {
        let config = match delay.as_str() {
            "-1 ms" => HedgeConfig::on_failure(),
            "0" => HedgeConfig::fixed(Duration::ZERO),
            text => HedgeConfig::fixed(humantime::parse_duration(text).expect("a duration")),
        };
        let (slow, fails_late) = (Act::GOOD.after(millis(3_000)), Act::BAD.after(millis(500)));
        let when_slow = call(&layer(config), &[slow, Act::GOOD]).await;
        let when_it_fails = call(&layer(config), &[fails_late, slow]).await;
        let (for_time, for_failure) = match mode.as_str() {
            "latency" => (vec![0, 2_000], vec![0, 500]),
            "parallel" => (vec![0, 0], vec![0, 0]),
            "fallback" => (vec![0], vec![0, 500]),
            other => panic!("there is no mode {other}"),
        };
        assert_eq!((when_slow, when_it_fails), ((Ok(()), for_time), (Ok(()), for_failure)), "{mode}");
    }
}

#[tokio::test(start_paused = true)]
async fn when_all_fail_the_error_is_that_of_the_first() {
    let (given, expect) = vector("all hedges fail");
    assert_eq!(given["attempts"], serde_json::json!(["primary err A", "hedge err B"]));
    let (a, b) = (fails(ErrorClass::Timeout), fails(ErrorClass::Server));
    let name = |answer| match answer {
        Err(Error::Inner(Peer(answer))) if answer == a.answer => "err A (primary)",
        _ => "something else",
    };
    for acts in [[a, b], [a.after(millis(300)), b], [a.after(millis(150)), b.after(millis(300))]] {
        let (answer, asked) = call(&layer(FIXED), &acts).await;
        assert_eq!((name(answer), asked.len()), (expect["result"].as_str().expect("text"), 2));
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_grant_a_hedge_waits_and_a_retry_gives_up() {
    let (given, expect) = vector("budget stops hedges silently, retries with an error");
    assert_eq!(given["budget"], "exhausted");
    assert_eq!(expect["hedge"], "not sent, wait for primary");
    let budget = RetryBudgetConfig::new().reserve(0).build().expect("valid");
    let hedge = layer(FIXED).budget(budget.clone());
    assert_eq!(call(&hedge, &[Act::GOOD.after(SLOW)]).await, (Ok(()), vec![0]));
    assert_eq!(hedge.handle().snapshot().counts.rejected_by_ratio, 1);

    let retry = RetryConfig::new().build().expect("valid").classify(ByPeer).budget(budget);
    let script = Script::new([Act::BAD]);
    let answer = retry.layer(script.service()).oneshot(()).await;
    assert_eq!((answer, script.asked()), (Err(Error::Inner(Peer(Act::BAD.answer))), vec![0]));
    assert_eq!(retry.handle().snapshot().counts.rejected_by_ratio, 1);
}

const PAGES: u32 = 200;
const FAST: Duration = Duration::from_millis(10);
const SLOW: Duration = Duration::from_secs(1);
