//! The retry vectors of other implementations, driven through the public API.
//!
//! `tests/vectors/retry.json` holds them with their sources. A vector that gives a random number `r` is driven by many
//! calls: the delay for `r` is their quantile `r`. Left out are vectors of rules that this crate decides otherwise:
//!
//! - `retry.jitter`, `DecorrelatedJitterV2`: Polly's formula; ours is that of the AWS architecture blog;
//! - `retry.backoff`, "truncated to whole ms": resilience4j's rounding; ours are exact;
//! - `retry.aws` about quotas, their refunds and long polls, `retry.aws.cubic`, `retry.aws.clock`, `retry.aws.bucket`:
//!   AWS counts tokens, and slows down the sender; this crate has a ratio of the requests and a health rule;
//! - `retry.grpc` about its token bucket, for the same reason; `maxAttempts` of 1 and above 5, which we allow;
//! - `retry.grpc`, "pushback forms": in `grpc_vectors.rs`;
//! - `retry.budget.failsafe`: its budget is of retries in flight;
//! - of `retry.jitter`, failsafe's `in_range`: no jitter of ours takes two ends.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};
use tower_reliability::{
    Classifier, ErrorClass, Outcome, Protocol,
    grpc::GrpcClassifier,
    retry::{Jitter, RetryConfig, RetryHandle, RetryLayer},
    retry_budget::{RetryBudget, RetryBudgetConfig},
};

const SERVER: Outcome = Outcome::failure(ErrorClass::Server);
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

/// One call whose attempts have these outcomes.
async fn call<C: Clone>(layer: &RetryLayer<Protocol<C>>, outcomes: impl IntoIterator<Item = Outcome>) {
    let outcomes: VecDeque<_> = outcomes.into_iter().collect();
    let next = Arc::new(Mutex::new(outcomes));
    let said =
        move |_: Result<&(), &std::io::Error>| next.lock().expect("no thread panics with it").pop_front();
    let said = move |result: Result<&(), &std::io::Error>| said(result).unwrap_or(Outcome::Success);
    let service = layer.clone().classify(said).layer(service_fn(|()| async { Ok(()) }));
    service.oneshot(()).await.expect("whatever it is taken for");
}

fn built(config: RetryConfig) -> RetryLayer {
    config.build().expect("valid").budget(RetryBudget::unlimited())
}

fn delays_of(handle: &RetryHandle) -> Vec<Duration> {
    let history = handle.snapshot().history;
    history.iter().filter(|it| it.attempt > 1).map(|it| it.delay).collect()
}

/// The delays of a call that fails in every attempt.
async fn row(config: RetryConfig, length: usize) -> Vec<f64> {
    let attempts = u32::try_from(length).expect("a short row") + 1;
    let layer = built(config.jitter(Jitter::None).max_attempts(attempts));
    call(&layer, vec![SERVER; length + 1]).await;
    delays_of(&layer.handle()).iter().map(Duration::as_secs_f64).collect()
}

/// The delay before the `nth` retry of each of many calls, in order of size.
async fn sorted(config: RetryConfig, nth: u32) -> Vec<f64> {
    let mut delays = Vec::new();
    let config = config.max_attempts(nth + 1).max_retry_after(FOREVER);
    for seed in 0..CALLS {
        let layer = built(config).seed(seed);
        call(&layer, vec![SERVER; nth as usize]).await;
        delays.push(delays_of(&layer.handle())[nth as usize - 1].as_secs_f64());
    }
    delays.sort_by(f64::total_cmp);
    delays
}

const CALLS: u64 = 1_000;
/// A little more than four standard deviations of a share of a thousand calls.
const GIVE: f64 = 0.07;

/// The quantile `r` of the delays.
fn quantile(sorted: &[f64], r: f64) -> f64 {
    let last = sorted.len() - 1;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index below a thousand"
    )]
    let index = (last as f64 * r).round() as usize;
    sorted[index.min(last)]
}

/// Whether the delays fill the range from `low` to `high`.
fn assert_range(sorted: &[f64], low: f64, high: f64) {
    let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
    assert!(least >= low && most <= high, "{least} ‥ {most} is not in {low} ‥ {high}");
    let width = high - low;
    assert!(
        least < low + GIVE * width && most > high - GIVE * width,
        "{least} ‥ {most} leaves some of it out"
    );
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(number).collect()
}

fn seconds(value: &Value) -> Duration {
    Duration::from_secs_f64(number(value))
}

fn millis(value: &Value) -> Duration {
    Duration::from_secs_f64(number(value) / 1_000.0)
}

fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    let close = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() <= tolerance);
    assert!(close && found.len() == expected.len(), "{found:?} is not {expected:?}");
}

async fn backoff(given: &Value, expect: &Value, name: &str) {
    match name {
        "constant/linear/exponential, base 1 s, attempts 0,1,2" => {
            let base = seconds(&given["base_s"]);
            for (config, kind) in [
                (RetryConfig::fixed(base), "constant"),
                (RetryConfig::linear(base), "linear"),
                (RetryConfig::exponential(base), "exponential"),
            ] {
                assert_close(&row(config, 3).await, &numbers(&expect[kind]), 0.0);
            }
        }
        "cap after jitter" => {
            let (base, max) = (seconds(&given["base_s"]), seconds(&given["max_s"]));
            let retry = u32::try_from(given["attempt"].as_u64().expect("a number")).expect("small") + 1;
            for config in
                [RetryConfig::fixed(base), RetryConfig::linear(base), RetryConfig::exponential(base)]
            {
                let delays = sorted(config.max_delay(max).jitter(Jitter::Spread(0.25)), retry).await;
                assert_close(
                    &[quantile(&delays, number(&given["r"]) + GIVE)],
                    &[number(&expect["delay_s"])],
                    0.0,
                );
                assert!(delays.iter().all(|delay| *delay <= max.as_secs_f64()), "above the cap");
            }
        }
        "capped exponential" => {
            let config = RetryConfig::exponential(millis(&given["base_ms"]))
                .multiplier(number(&given["mult"]))
                .max_delay(millis(&given["cap_ms"]));
            let found: Vec<f64> = row(config, 13).await[11..].iter().map(|delay| delay * 1_000.0).collect();
            assert_close(&found, &numbers(&expect["delay_ms"]), 0.0);
        }
        "fibonacci, two conventions" => {
            // Ours is backon's; go-retry's begins one later.
            let row = row(RetryConfig::fibonacci(seconds(&given["base_s"])), 6).await;
            assert_close(&row, &numbers(&expect["backon"]), 0.0);
        }
        "gRPC connection backoff 1 s x1.6 max 120 s (before +-20%)" => {
            let config = RetryConfig::exponential(Duration::from_secs(1)).multiplier(1.6);
            let row = row(config.max_delay(Duration::from_secs(120)), 12).await;
            assert_close(&row, &numbers(&expect["delay_s"]), 1e-4);
        }
        _ => panic!("no test drives the vector {name}"),
    }
}

async fn jitter(given: &Value, expect: &Value, name: &str) {
    match name {
        "+-25% on constant 1 s: r=0,.4,.6,1" => {
            let config = RetryConfig::fixed(seconds(&given["base_s"])).jitter(Jitter::Spread(0.25));
            let delays = sorted(config, 1).await;
            let found: Vec<_> = numbers(&given["r"]).iter().map(|r| quantile(&delays, *r)).collect();
            assert_close(&found, &numbers(&expect["delay_s"]), 0.5 * GIVE);
        }
        "randomized 100 ms factor .5" => {
            let jitter = Jitter::Spread(number(&given["factor"]));
            let delays = sorted(RetryConfig::fixed(millis(&given["base_ms"])).jitter(jitter), 1).await;
            assert_range(&delays, number(&expect["min"]) / 1_000.0, number(&expect["max"]) / 1_000.0);
        }
        "finagle EqualJittered base 5 s" => {
            let config = RetryConfig::exponential(seconds(&given["base_s"]))
                .max_delay(seconds(&given["max_s"]))
                .jitter(Jitter::Equal);
            // There the first delay is the base, and not spread; ours is anything from half of it.
            assert_range(&sorted(config, 1).await, 2.5, number(&expect["first"]));
            for (retry, key) in [(2, "second_range_s"), (3, "third_range_s"), (4, "fourth_range_s")] {
                let range = numbers(&expect[key]);
                assert_range(&sorted(config, retry).await, range[0], range[1]);
            }
        }
        "Envoy full jitter base 25 ms cap 250 ms" => {
            // Its sequence is 2ⁿ - 1 times the base, which a schedule can list.
            let ends = numbers(&expect["range_ms_upper_exclusive"]);
            let listed: Vec<_> = ends.iter().map(|end| Duration::from_secs_f64(end / 1_000.0)).collect();
            let retries = given["retry"].as_array().expect("a list");
            for (retry, end) in retries.iter().zip(ends) {
                let retry = u32::try_from(retry.as_u64().expect("a number")).expect("small");
                let delays = sorted(RetryConfig::schedule(&listed).jitter(Jitter::Full), retry).await;
                assert_range(&delays, 0.0, end / 1_000.0);
            }
        }
        "failsafe-go random delay helpers" => {
            // There a random number of 0 gives the longest delay, and of 1 the shortest.
            let cases = given["factor"].as_array().expect("a list");
            for (case, expected) in cases.iter().zip(numbers(&expect["factor"])) {
                let jitter = Jitter::Spread(number(&case[1]));
                let delays = sorted(RetryConfig::fixed(millis(&case[0])).jitter(jitter), 1).await;
                let found = quantile(&delays, 1.0 - number(&case[2])) * 1_000.0;
                assert_close(&[found], &[expected], 100.0 * GIVE);
            }
        }
        _ => panic!("no test drives the vector {name}"),
    }
}

async fn aws_and_grpc(given: &Value, expect: &Value, name: &str) {
    match name {
        "2026 backoff, r=1" => {
            let base = millis(&given["base_ms"]);
            assert_eq!(RetryConfig::exponential(base), RetryConfig::new(), "it is our default too");
            let config = RetryConfig::new().max_delay(seconds(&given["cap_s"]));
            let length = usize::try_from(given["attempts"].as_u64().expect("a number")).expect("small");
            let ends = numbers(&expect["delay_s"]);
            assert_close(&row(config, length).await, &ends, 1e-9);
            // "Cap before full jitter": the capped ones are spread from 0 to the cap as well.
            assert_range(&sorted(config, 10).await, 0.0, ends[9]);
        }
        "DynamoDB: 4 attempts, 25 ms base" => {
            // Without its quota, which is not ours.
            let config =
                RetryConfig::exponential(Duration::from_millis(25)).jitter(Jitter::None).max_attempts(4);
            let layer = built(config);
            let failures = usize::try_from(given["failures"].as_u64().expect("a number")).expect("small");
            call(&layer, vec![SERVER; failures]).await;
            let delays: Vec<_> = delays_of(&layer.handle()).iter().map(Duration::as_secs_f64).collect();
            assert_close(&delays, &numbers(&expect["delay_s"]), 1e-9);
            assert_eq!(layer.handle().snapshot().counts.exhausted, 1);
        }
        "server retry-after (ms header) clamped to [t, t+5 s]" => {
            // The lower end is the same here. In place of its upper end there is a longest hint.
            // The header is AWS's own; one that is garbage gives no hint. Up to a tenth is added, so that not all come
            // back at once.
            let row = seconds(&given["t_s"]);
            let config =
                RetryConfig::fixed(row).jitter(Jitter::None).max_retry_after(row + Duration::from_secs(5));
            let headers = given["header_ms"].as_array().expect("a list");
            for (header, expected) in headers.iter().zip(numbers(&expect["delay_s"])) {
                let hint = header.as_str().expect("text").parse().map(Duration::from_millis);
                let outcome = hint.map_or(SERVER, |hint| SERVER.retry_after(hint));
                let layer = built(config);
                call(&layer, [outcome]).await;
                let found = delays_of(&layer.handle())[0].as_secs_f64();
                assert!((expected..=expected * 1.1).contains(&found), "{header}: {found} s");
            }
        }
        "after pushback the schedule restarts at initialBackoff" => {
            let config =
                RetryConfig::exponential(seconds(&given["initial_s"])).multiplier(number(&given["mult"]));
            let layer = built(config.jitter(Jitter::None).max_attempts(4));
            call(&layer, [SERVER, SERVER.retry_after(Duration::from_secs(10)), SERVER]).await;
            // What is after the point is ours: up to a tenth on top of the pushback.
            let whole: Vec<_> =
                delays_of(&layer.handle()).iter().map(|delay| delay.as_secs_f64().floor()).collect();
            assert_eq!(whole, numbers(&expect["nominal_delay_s"]));
        }
        _ => panic!("no test drives the vector {name}"),
    }
}

/// The ratio alone.
fn ratio(ratio: f64) -> RetryBudget {
    RetryBudgetConfig::new().ratio(ratio).reserve(0).without_health_gate().build().expect("valid")
}

fn at_once(budget: &RetryBudget) -> RetryLayer {
    let config = RetryConfig::fixed(Duration::ZERO).max_attempts(2);
    config.build().expect("valid").budget(budget.clone())
}

async fn finagle(given: &Value, expect: &Value, name: &str) {
    match name {
        "percent budgets over 10000 requests" => {
            for (percent, expected) in numbers(&given["percent"]).iter().zip(numbers(&expect["retries"])) {
                let budget = ratio(*percent);
                let layer = at_once(&budget);
                for _ in 0..given["requests"].as_u64().expect("a number") {
                    call(&layer, [SERVER, SERVER]).await;
                }
                let spent = u32::try_from(budget.snapshot().spent).expect("few");
                assert_close(&[f64::from(spent)], &[expected], number(&expect["tol"]));
            }
        }
        "percent > 1" => {
            let budget = ratio(number(&given["percent"]));
            let layer = at_once(&budget);
            for _ in 0..given["deposits"].as_u64().expect("a number") {
                call(&layer, []).await;
            }
            assert_close(&[budget.snapshot().balance], &[number(&expect["balance"])], 1e-3);
        }
        "empty/infinite" => {
            for (budget, expected) in [ratio(0.0), RetryBudget::unlimited()]
                .iter()
                .zip(expect["withdraw"].as_array().expect("a list"))
            {
                let layer = at_once(budget);
                call(&layer, [SERVER]).await;
                assert_eq!(layer.handle().snapshot().counts.retries == 1, *expected);
                assert_eq!(budget.snapshot().balance > 1e-3, *expected);
            }
        }
        "finagle classes" => {
            for (outcomes, balance, spent) in
                [(vec![], 1.0, 0), (vec![Outcome::Ignored], 0.0, 0), (vec![SERVER], 0.0, 1)]
            {
                let budget = ratio(1.0);
                call(&at_once(&budget), outcomes.clone()).await;
                let seen = budget.snapshot();
                assert!((seen.balance - balance).abs() < 1e-3, "{outcomes:?}: {seen:?}");
                assert_eq!(seen.spent, spent, "{outcomes:?}");
            }
        }
        _ => panic!("no test drives the vector {name}"),
    }
}

/// linkerd's three reasons against a backend are two classes here, and a timeout is a third.
fn grpc_classes(given: &Value, expect: &Value) {
    let (codes, classes) =
        (given["code"].as_array().expect("a list"), expect["class"].as_array().expect("a list"));
    for (code, expected) in codes.iter().zip(classes) {
        let response = http::Response::builder().header("grpc-status", code.to_string()).body(());
        let outcome = GrpcClassifier::new().classify(Ok::<_, &Infallible>(&response.expect("a response")));
        let class = outcome.class();
        let agrees = match expected.as_str().expect("text") {
            "rate_limited" => class == Some(ErrorClass::RateLimit),
            "unavailable" => class == Some(ErrorClass::Server),
            "internal" => matches!(class, Some(ErrorClass::Server | ErrorClass::Timeout)),
            "ignored" => class.is_none(),
            other => panic!("no class for {other}"),
        };
        assert!(agrees, "{code}: {outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_vector_holds_or_differs_on_purpose() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/retry.json")).expect("valid JSON");
    let vectors = vectors.as_array().expect("a list");
    assert_eq!(vectors.len(), 19);
    for vector in vectors {
        let (given, expect) = (&vector["given"], &vector["expect"]);
        let (area, name) = (vector["area"].as_str().expect("text"), vector["name"].as_str().expect("text"));
        println!("{area}: {name}");
        match area {
            "retry.backoff" => backoff(given, expect, name).await,
            "retry.jitter" => jitter(given, expect, name).await,
            "retry.aws" | "retry.grpc" => aws_and_grpc(given, expect, name).await,
            "classify" if name == "gRPC failure map for health" => grpc_classes(given, expect),
            "retry.finagle" | "classify" => finagle(given, expect, name).await,
            _ => panic!("no test drives the vector {area}: {name}"),
        }
    }
}
