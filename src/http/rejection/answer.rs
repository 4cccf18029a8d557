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
        answer(rejected, status, detail, "")
    }
}

impl<B: From<String>> Answers<B> for DetailedProblem {
    fn answer(rejected: &Rejected) -> Response<B> {
        let reason = rejected.reason();
        let layer = format!(r#","layer":"{}""#, escaped(rejected.layer().as_str()));
        answer(rejected, status(reason).0, &escaped(&reason.to_string()), &layer)
    }
}

/// The answer with this detail, which needs no escapes, and with the members that follow it.
fn answer<B: From<String>>(
    rejected: &Rejected,
    status: StatusCode,
    detail: &str,
    further: &str,
) -> Response<B> {
    let title = status.canonical_reason().unwrap_or_default();
    let seconds = rejected.retry_after().map(|wait| whole_seconds_up(wait).to_string());
    let (name, value) = seconds.as_deref().map_or(("", ""), |seconds| (r#","retry_after":"#, seconds));
    // In one piece, and without serde: a refused call should cost little.
    let problem = [
        r#"{"type":"about:blank","title":""#,
        title,
        r#"","status":"#,
        status.as_str(),
        r#","detail":""#,
        detail,
        "\"",
        further,
        name,
        value,
        "}",
    ];
    let mut response = Response::new(B::from(problem.concat()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(seconds) = seconds {
        let seconds = HeaderValue::try_from(seconds).expect("digits are a header value");
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    if rejected.reason() == Reason::Draining {
        // The next request of this client finds another server. A server of HTTP/2 removes the header.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The characters of a JSON string, without its quotes.
fn escaped(text: &str) -> String {
    let quoted = serde_json::to_string(text).expect("a text is JSON");
    quoted[1..quoted.len() - 1].to_owned()
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
        | Reason::NoEndpoint
        | Reason::NoHealthyEndpoint
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
    async fn every_answer_is_json_with_the_members_of_a_problem() {
        let limit = Duration::from_secs(1);
        for reason in [
            Reason::QueueFull,
            Reason::RateLimited,
            Reason::CostTooHigh { cost: 77, most: 7 },
            Reason::Timeout { limit },
            Reason::Panicked,
            Reason::UploadStalled { limit },
        ] {
            for delay in [None, Some(Duration::from_secs(3_700)), Some(Duration::MAX)] {
                let rejected = Rejected::new(Name::new("a\"b\\c\nd\u{1}\u{2028}"), reason);
                let rejected = delay.map_or(rejected.clone(), |delay| rejected.after(delay));
                let (status, detail) = status(reason);
                let mut expected = json!({
                    "type": "about:blank",
                    "title": status.canonical_reason().expect("it has a name"),
                    "status": status.as_u16(),
                    "detail": detail,
                });
                if let Some(delay) = rejected.retry_after() {
                    expected["retry_after"] = whole_seconds_up(delay).into();
                }
                assert_eq!(problem(&Problem::answer(&rejected)), expected);
                expected["detail"] = reason.to_string().into();
                expected["layer"] = rejected.layer().as_str().into();
                assert_eq!(problem(&DetailedProblem::answer(&rejected)), expected);
            }
        }
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
