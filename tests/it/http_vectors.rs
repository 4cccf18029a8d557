//! Published vectors about HTTP: `Retry-After`, classes of statuses, deadlines, and the rules between timeouts.

use std::{
    io,
    time::{Duration, SystemTime},
};

use http::{Response, header::RETRY_AFTER};
use serde_json::Value;
use tower_reliability::{
    Classifier, Deadline, ErrorClass, Outcome, ReliabilityStack,
    circuit_breaker::{CircuitBreakerConfig, Window},
    http::HttpClassifier,
};

fn vector(name: &str) -> Value {
    let all: Vec<Value> = serde_json::from_str(include_str!("../vectors/http.json")).expect("it is JSON");
    all.into_iter().find(|vector| vector["name"] == name).expect("there is such a vector")
}

fn outcome(status: u64, header: Option<&str>, classifier: HttpClassifier) -> Outcome {
    let mut response = Response::builder().status(u16::try_from(status).expect("a status"));
    if let Some(value) = header {
        response = response.header(RETRY_AFTER, value);
    }
    classifier.classify(Ok::<_, &io::Error>(&response.body(()).expect("a response")))
}

fn hint(status: u64, header: &str, cap: Duration) -> Option<Duration> {
    match outcome(status, Some(header), HttpClassifier::new().max_retry_after(cap)) {
        Outcome::Failure { retry_after, .. } => retry_after,
        _ => None,
    }
}

/// `now+60 s`, `now+1d`, `now-1d` as an HTTP date; anything else as it is.
fn header(text: &str) -> String {
    let Some(shift) = text.strip_prefix("now") else {
        return text.to_owned();
    };
    let number: i64 = shift.trim_end_matches(['s', 'd', ' ']).parse().expect("a number");
    let seconds = if shift.ends_with('d') { number * 86_400 } else { number };
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let now = SystemTime::now();
    httpdate::fmt_http_date(if seconds < 0 { now - distance } else { now + distance })
}

#[test]
fn a_hint_is_read_on_429_and_503_only() {
    let vector = vector("status gate: only 429 and 503");
    let text = vector["given"]["header"].as_str().expect("a header");
    let statuses = vector["given"]["status"].as_array().expect("a list");
    for (status, expected) in statuses.iter().zip(vector["expect"]["delay_s"].as_array().expect("a list")) {
        let found = hint(status.as_u64().expect("a status"), text, Duration::MAX);
        assert_eq!(found.map(|delay| delay.as_secs()), expected.as_u64(), "{status}");
    }
}

#[test]
fn a_hint_may_be_a_date_and_is_capped() {
    let vector = vector("HTTP-date");
    let cap = Duration::from_secs(vector["given"]["cap_s"].as_u64().expect("seconds"));
    let headers = vector["given"]["header"].as_array().expect("a list");
    for (text, expected) in headers.iter().zip(vector["expect"]["delay_s"].as_array().expect("a list")) {
        let found = hint(429, &header(text.as_str().expect("text")), cap).expect("a hint").as_secs();
        match expected.as_u64() {
            Some(exactly) => assert_eq!(found, exactly, "{text}"),
            None => assert!((55..=65).contains(&found), "{text}: {found}"),
        }
    }
}

#[test]
fn seconds_a_day_ahead_and_the_past() {
    let vector = vector("delta 10 s; date 1 day ahead; date in past");
    let headers = vector["given"]["header"].as_array().expect("a list");
    let [ten, day, past] = headers.as_slice() else { panic!("three headers") };
    let found =
        |text: &Value| hint(503, &header(text.as_str().expect("text")), Duration::MAX).expect("a hint");
    assert_eq!(found(ten), Duration::from_secs(10));
    assert!((86_398..=86_400).contains(&found(day).as_secs()));
    assert_eq!(found(past), Duration::ZERO);
}

#[test]
fn statuses_worth_a_retry_have_a_class_that_is_retried() {
    let vector = vector("HTTP retry (failsafe-go)");
    let statuses = vector["given"]["status"].as_array().expect("a list");
    for (status, expected) in statuses.iter().zip(vector["expect"]["retry"].as_array().expect("a list")) {
        let class = outcome(status.as_u64().expect("a status"), None, HttpClassifier::new()).class();
        let retried = matches!(class, Some(ErrorClass::RateLimit | ErrorClass::Server));
        assert_eq!(Some(retried), expected.as_bool(), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_earlier_deadline_holds_and_an_expired_one_runs_nothing() {
    let vector = vector("combine is the earlier one; expired is rejected before work");
    let seconds = |value: &Value| Duration::from_secs(value.as_u64().expect("seconds"));
    let given = &vector["given"];
    let began = tokio::time::Instant::now();
    let deadline =
        Deadline::after(seconds(&given["inherited_s"])).earlier(Deadline::after(seconds(&given["local_s"])));
    assert_eq!(deadline.remaining(), seconds(&vector["expect"]["effective_s"]));
    let nows = given["now_s"].as_array().expect("a list");
    for (now, runs) in nows.iter().zip(vector["expect"]["run"].as_array().expect("a list")) {
        tokio::time::advance(seconds(now).saturating_sub(began.elapsed())).await;
        assert_eq!(Some(!deadline.is_expired()), runs.as_bool(), "at {now}");
    }
}

#[test]
fn the_rules_between_timeouts_and_window() {
    let vector = vector("standard pipeline validators");
    let seconds = |value: &Value| Duration::from_secs(value.as_u64().expect("seconds"));
    let total = seconds(&vector["given"]["total_s"]);
    let build = |attempt, window| {
        ReliabilityStack::builder()
            .timeout(total)
            .attempt_timeout(attempt)
            .circuit_breaker(
                CircuitBreakerConfig::new().window(Window::Time(window)).probe_timeout(2 * total),
            )
            .build()
            .map(drop)
            .map_err(|error| (error.stage(), error.field()))
    };
    let attempts = vector["given"]["attempt_s"].as_array().expect("a list");
    let windows = vector["given"]["sampling_s"].as_array().expect("a list");
    let long = Duration::from_secs(600);
    assert_eq!(build(seconds(&attempts[0]), long), Ok(()));
    assert_eq!(build(seconds(&attempts[1]), long), Err((None, "attempt_timeout")));
    assert_eq!(build(seconds(&attempts[0]), seconds(&windows[0])), Ok(()));
    assert_eq!(build(seconds(&attempts[0]), seconds(&windows[1])), Err((Some("circuit_breaker"), "window")));
}
