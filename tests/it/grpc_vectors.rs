//! Published vectors about gRPC: `grpc-timeout` and the pushback.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use serde_json::Value;
use tower_reliability::{
    Classifier, Deadline, DeadlineSource, ErrorClass, Outcome, Retryable,
    grpc::{GrpcClassifier, GrpcTimeout},
};

/// The headers of a vector, each with its expectation.
fn rows(name: &str, given: &str, expect: &str) -> Vec<(String, String)> {
    let all: Vec<Value> = serde_json::from_str(include_str!("../vectors/grpc.json")).expect("it is JSON");
    let vector = all.iter().find(|vector| vector["name"] == name).expect("there is such a vector");
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().expect("a list").iter();
        list.map(|text| text.as_str().expect("text").to_owned()).collect()
    };
    let (given, expect) = (texts(&vector["given"][given]), texts(&vector["expect"][expect]));
    assert_eq!(given.len(), expect.len());
    given.into_iter().zip(expect).collect()
}

#[test]
fn every_form_of_the_pushback_has_its_meaning() {
    for (value, meaning) in rows("pushback forms", "grpc-retry-pushback-ms", "meaning") {
        let response = Response::builder()
            .header("grpc-status", "8")
            .header("grpc-retry-pushback-ms", &value)
            .body(())
            .expect("a response");
        let outcome = GrpcClassifier::new().classify(Ok::<_, &Infallible>(&response));
        let Outcome::Failure { class: ErrorClass::RateLimit, retry_after, retryable, .. } = outcome else {
            panic!("{outcome:?}")
        };
        let expected = match meaning.as_str() {
            "retry after exactly 5 s" => (Some(Duration::from_secs(5)), Retryable::IfIdempotent),
            "retry now" => (Some(Duration::ZERO), Retryable::IfIdempotent),
            "do not retry" => (None, Retryable::Never),
            // The specification leaves it open; the classifier reads the number.
            text if text.starts_with("unspecified") => {
                (Some(Duration::from_millis(100)), Retryable::IfIdempotent)
            }
            other => panic!("no meaning for {other}"),
        };
        assert_eq!((retry_after, retryable), expected, "{value}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_unit_of_the_timeout_header_is_read_and_nothing_else_is() {
    for (value, meaning) in rows("gRPC timeout header", "grpc-timeout", "ok") {
        let request = Request::builder().header("grpc-timeout", &value).body(()).expect("a request");
        let expected = match meaning.as_str() {
            text if text.starts_with("invalid") => None,
            text => Some(humantime::parse_duration(&text.replace(' ', "")).expect("a duration")),
        };
        assert_eq!(GrpcTimeout.deadline(&request).map(Deadline::remaining), expected, "{value}");
    }
}
