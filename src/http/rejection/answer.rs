//! What a client is told: a status, when to come back, and a problem document (RFC 9457).

use ::http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::json;

use crate::{
    algo::whole_seconds_up,
    call::{Reason, Rejected},
};

/// How a protocol says that a call was turned away.
pub trait Answers<B> {
    /// The answer to a call that was turned away.
    fn answer(rejected: &Rejected) -> Response<B>;
}

/// A status, and a JSON problem document as the body.
#[derive(Clone, Copy, Debug)]
pub struct Problem;

impl<B: From<String>> Answers<B> for Problem {
    fn answer(rejected: &Rejected) -> Response<B> {
        answer(rejected)
    }
}

fn answer<B: From<String>>(rejected: &Rejected) -> Response<B> {
    let status = status(rejected.reason());
    let seconds = rejected.retry_after().map(whole_seconds_up);
    let mut problem = json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": rejected.reason().to_string(),
        "layer": rejected.layer().as_str(),
    });
    if let Some(seconds) = seconds {
        problem["retry_after"] = seconds.into();
    }
    let mut response = Response::new(B::from(problem.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(seconds) = seconds {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

const fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::CircuitOpen(_) | Reason::ProbesTaken | Reason::Ramping => StatusCode::SERVICE_UNAVAILABLE,
        Reason::Timeout { .. } | Reason::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Reason::UploadStalled { .. } => StatusCode::REQUEST_TIMEOUT,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::{Name, Trip};

    #[tokio::test(start_paused = true)]
    async fn an_open_circuit_is_503_and_says_when_to_come_back_rounded_up() {
        let reason = Reason::CircuitOpen(Trip::ConsecutiveFailures(5));
        let rejected = Rejected::new(Name::new("pay\"ments"), reason).after(Duration::from_millis(4_001));
        let answer: Response<String> = answer(&rejected);
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()[RETRY_AFTER], "5");
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
        let problem: serde_json::Value = serde_json::from_str(answer.body()).expect("it is JSON");
        assert_eq!(problem["detail"], "circuit open (5 calls in a row failed)");
        assert_eq!(problem["layer"], "pay\"ments");
        assert_eq!((&problem["status"], &problem["retry_after"]), (&json!(503), &json!(5)));
    }

    #[test]
    fn a_timeout_is_504_and_names_no_time() {
        let limit = Duration::from_secs(1);
        let answer: Response<String> =
            answer(&Rejected::new(Name::new("timeout"), Reason::Timeout { limit }));
        assert_eq!(answer.status(), 504);
        assert!(!answer.headers().contains_key(RETRY_AFTER));
    }
}
