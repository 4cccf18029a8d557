//! The answers to rejected calls: a status, `Retry-After`, and a problem document (RFC 9457).

use std::time::Duration;

use ::http::{
    HeaderValue, Response, StatusCode,
    header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER},
};

use crate::{
    algo::whole_seconds_up,
    call::{Reason, Rejected},
};

/// Makes the answers of a protocol to rejected calls.
pub trait Answers<B> {
    /// The unit in which an answer carries the wait before the next try. Default: 1 s.
    const STEP: Duration = Duration::from_secs(1);

    /// The answer to a rejected call.
    fn answer(rejected: &Rejected) -> Response<B>;
}

/// A status and a JSON problem document, which disclose neither layers nor numbers.
#[derive(Clone, Copy, Debug)]
pub struct Problem;

/// A [`Problem`] that also names the layer and the reason of the rejection. For internal use.
#[derive(Clone, Copy, Debug)]
pub struct DetailedProblem;

impl<B: From<String>> Answers<B> for Problem {
    fn answer(rejected: &Rejected) -> Response<B> {
        let (status, detail) = status(rejected.reason());
        answer(rejected, status, detail, None)
    }
}

impl<B: From<String>> Answers<B> for DetailedProblem {
    fn answer(rejected: &Rejected) -> Response<B> {
        let reason = rejected.reason();
        answer(rejected, status(reason).0, &reason.to_string(), Some(rejected.layer().as_str()))
    }
}

/// The members of a problem document. Written straight to text: a refused call should cost little.
#[derive(serde::Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: Option<&'static str>,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

fn answer<B: From<String>>(
    rejected: &Rejected,
    status: StatusCode,
    detail: &str,
    layer: Option<&str>,
) -> Response<B> {
    let retry_after = rejected.retry_after().map(whole_seconds_up);
    let title = status.canonical_reason();
    let document =
        Document { r#type: "about:blank", title, status: status.as_u16(), detail, layer, retry_after };
    let text = serde_json::to_string(&document).expect("texts and numbers are JSON");
    let mut response = Response::new(B::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    if rejected.reason() == Reason::Draining {
        // The next request of this client finds another server. A server of HTTP/2 removes the header.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The status of a rejection, and the sentence that any client may read.
const fn status(reason: Reason) -> (StatusCode, &'static str) {
    match reason {
        Reason::CircuitOpen(_)
        | Reason::ProbesTaken
        | Reason::Ramping
        | Reason::ConcurrencyLimited { .. }
        | Reason::QueueFull
        | Reason::QueueTimeout { .. }
        | Reason::Shed
        | Reason::Draining => {
            (StatusCode::SERVICE_UNAVAILABLE, "The service cannot take the request at the moment.")
        }
        Reason::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "Too many requests have arrived lately."),
        Reason::CostTooHigh { .. } => {
            (StatusCode::PAYLOAD_TOO_LARGE, "The request asks for too much at once.")
        }
        Reason::Timeout { .. } | Reason::DeadlineExceeded => {
            (StatusCode::GATEWAY_TIMEOUT, "The service did not answer in time.")
        }
        Reason::Panicked | Reason::NoRuntime => {
            (StatusCode::INTERNAL_SERVER_ERROR, "The service failed to answer the request.")
        }
        Reason::UploadStalled { .. } => {
            (StatusCode::REQUEST_TIMEOUT, "The request body did not arrive in time.")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::telemetry::{Name, Trip};

    fn open() -> Rejected {
        let reason = Reason::CircuitOpen(Trip::ConsecutiveFailures(5));
        Rejected::new(Name::new("pay\"ments(10.0.0.7:80)"), reason).after(Duration::from_millis(4_001))
    }

    fn problem(answer: &Response<String>) -> Value {
        serde_json::from_str(answer.body()).expect("it is JSON")
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_circuit_is_503_with_the_time_to_come_back_rounded_up() {
        let answer: Response<String> = Problem::answer(&open());
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()[RETRY_AFTER], "5");
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
        let problem = problem(&answer);
        assert_eq!((&problem["status"], &problem["retry_after"]), (&json!(503), &json!(5)));
        assert_eq!(problem["title"], "Service Unavailable");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_a_permit_is_503_with_a_time_and_without_numbers() {
        let max_wait = Duration::from_secs(77);
        for reason in [
            Reason::ConcurrencyLimited { limit: 77 },
            Reason::QueueFull,
            Reason::QueueTimeout { max_wait },
            Reason::Shed,
        ] {
            let rejected = Rejected::new(Name::new("limit"), reason).after(Duration::from_millis(1));
            let answer: Response<String> = Problem::answer(&rejected);
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()[RETRY_AFTER]),
                (503, &"1".parse().unwrap())
            );
            assert!(!answer.body().contains("77") && !answer.body().contains("queue"), "{}", answer.body());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn case_33_a_call_beyond_the_rate_is_429_with_the_time_rounded_up() {
        let answer = |reason, delay| {
            let delay = Duration::from_millis(delay);
            let answer: Response<String> =
                Problem::answer(&Rejected::new(Name::new("limit"), reason).after(delay));
            (answer.status().as_u16(), answer.headers()[RETRY_AFTER].clone())
        };
        for (delay, seconds) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2")] {
            assert_eq!(answer(Reason::RateLimited, delay), (429, HeaderValue::from_static(seconds)));
        }
        let never = Rejected::new(Name::new("limit"), Reason::CostTooHigh { cost: 77, most: 7 });
        let answer: Response<String> = Problem::answer(&never);
        assert_eq!((answer.status().as_u16(), answer.headers().get(RETRY_AFTER)), (413, None));
        assert!(!answer.body().contains('7'), "{}", answer.body());
    }

    #[tokio::test(start_paused = true)]
    async fn case_74_an_answer_discloses_neither_layers_nor_numbers_unless_it_is_detailed() {
        let answer: Response<String> = Problem::answer(&open());
        let keys: Vec<_> = problem(&answer).as_object().expect("an object").keys().cloned().collect();
        assert_eq!(keys, ["detail", "retry_after", "status", "title", "type"]);
        for secret in ["pay", "10.0.0.7", "circuit", "5 "] {
            assert!(!answer.body().contains(secret), "{}", answer.body());
        }
        let detailed = problem(&DetailedProblem::answer(&open()));
        assert_eq!(detailed["detail"], open().reason().to_string());
        assert_eq!(detailed["layer"], "pay\"ments(10.0.0.7:80)");
    }

    #[test]
    fn a_timeout_is_504_and_a_stalled_upload_408_without_a_time() {
        let limit = Duration::from_secs(1);
        for (reason, status) in [(Reason::Timeout { limit }, 504), (Reason::UploadStalled { limit }, 408)] {
            let answer: Response<String> = Problem::answer(&Rejected::new(Name::new("timeout"), reason));
            assert_eq!(answer.status(), status);
            assert!(!answer.headers().contains_key(RETRY_AFTER) && !answer.body().contains("1s"));
        }
    }
}
