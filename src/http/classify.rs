//! The outcome of an HTTP response.

use std::{error::Error, time::Duration};

use ::http::{HeaderMap, Response, StatusCode, header::RETRY_AFTER};

use super::{errors, quotas, retry_after, retry_attempt};
use crate::{
    call::{Classifier, ErrorClass, Outcome, QuotaState},
    rt::clock,
};

/// Classifies HTTP responses by status, and the errors of hyper, hyper-util and reqwest.
///
/// | status | outcome |
/// |---|---|
/// | below 400; 404, 410, 412 | success: the server has answered the question |
/// | 401, 403, 407 | `Authentication` |
/// | 408 | ignored: the caller was too slow |
/// | 504 | `Timeout` |
/// | 429; 503 with `Retry-After` | `RateLimit`, with the hint |
/// | other 4xx, 501 | `Validation` |
/// | other 5xx | `Server` |
///
/// `Retry-After` is read on 429 and 503 only, as seconds or as a date. If there are several such headers, the first
/// counts.
///
/// A failure also says whether the request may be sent again:
///
/// | failure | [`Retryable`](crate::Retryable) |
/// |---|---|
/// | no connection was made, or hyper had not begun to write the request | `Unprocessed` |
/// | the response has `x-retry-attempt: 1` or more: a server closer to the backend has retried | `Never` |
/// | any other | `IfIdempotent` |
///
/// An error whose chain holds a [`Rejected`](crate::Rejected) has that rejection's outcome. Error chains are read 64
/// errors deep. reqwest's errors are known with the feature `reqwest`.
///
/// The [quota](Classifier::quota) of a response is that of its field `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10):
/// of several, the one that allows the lowest rate until its reset. A server with other fields, such as
/// `X-RateLimit-Remaining`, needs a classifier of your own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpClassifier {
    max_retry_after: Duration,
}

impl HttpClassifier {
    /// With the defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self { max_retry_after: DAY }
    }

    /// Caps the `Retry-After` hints of servers, and the resets of their quotas.
    ///
    /// A high cap respects long maintenance windows. A low one limits how long a server can keep callers away.
    /// Range: any; 0 ignores the delay of a hint. Default: 1 day.
    #[must_use]
    pub const fn max_retry_after(mut self, delay: Duration) -> Self {
        self.max_retry_after = delay;
        self
    }

    /// The outcome of an HTTP client's error: that of the first error in its chain that has a known type.
    ///
    /// A failed request body is the caller's own failure, and [`Ignored`](Outcome::Ignored), whatever its error.
    ///
    /// Use it in closures over services whose error is a [`BoxError`](crate::BoxError), which is itself no
    /// [`Error`].
    #[must_use]
    pub fn outcome_of_error(&self, error: &(dyn Error + 'static)) -> Outcome {
        errors::outcome_of(error)
    }

    /// The outcome of a response with this status and these headers.
    #[must_use]
    pub fn outcome(&self, status: StatusCode, headers: &HeaderMap) -> Outcome {
        let outcome = match of_status(status) {
            Outcome::Failure { class, .. } => self.failure(class, status, headers),
            outcome => outcome,
        };
        if retry_attempt::was_retried(headers) { outcome.not_retryable() } else { outcome }
    }

    fn failure(&self, class: ErrorClass, status: StatusCode, headers: &HeaderMap) -> Outcome {
        if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            return Outcome::failure(class);
        }
        let hint =
            headers.get(RETRY_AFTER).and_then(|value| retry_after::parse(value.as_bytes(), clock::wall()));
        match hint {
            Some(delay) => {
                Outcome::failure(ErrorClass::RateLimit).retry_after(delay.min(self.max_retry_after))
            }
            None => Outcome::failure(class),
        }
    }
}

impl Default for HttpClassifier {
    fn default() -> Self {
        Self::new()
    }
}

impl<B, E: Error + 'static> Classifier<Response<B>, E> for HttpClassifier {
    fn classify(&self, result: Result<&Response<B>, &E>) -> Outcome {
        match result {
            Ok(response) => self.outcome(response.status(), response.headers()),
            Err(error) => errors::outcome_of(error),
        }
    }

    fn quota(&self, response: &Response<B>) -> Option<QuotaState> {
        quotas::read(response.headers(), self.max_retry_after)
    }
}

#[cfg(feature = "reqwest")]
impl<E: Error + 'static> Classifier<reqwest::Response, E> for HttpClassifier {
    fn classify(&self, result: Result<&reqwest::Response, &E>) -> Outcome {
        match result {
            Ok(response) => self.outcome(response.status(), response.headers()),
            Err(error) => errors::outcome_of(error),
        }
    }

    fn quota(&self, response: &reqwest::Response) -> Option<QuotaState> {
        quotas::read(response.headers(), self.max_retry_after)
    }
}

/// The outcome of a status without a hint.
pub(super) fn of_status(status: StatusCode) -> Outcome {
    Outcome::failure(match status.as_u16() {
        ..400 | 404 | 410 | 412 => return Outcome::Success,
        408 => return Outcome::Ignored,
        401 | 403 | 407 => ErrorClass::Authentication,
        429 => ErrorClass::RateLimit,
        504 => ErrorClass::Timeout,
        // A server that does not implement a method is healthy, and will not implement it for a retry.
        400..500 | 501 => ErrorClass::Validation,
        500..600 => ErrorClass::Server,
        600.. => ErrorClass::Unknown,
    })
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn outcome(status: u16, retry_after: Option<&str>) -> Outcome {
        let mut response = Response::builder().status(status);
        if let Some(value) = retry_after {
            response = response.header(RETRY_AFTER, value);
        }
        let response = response.body(()).expect("it is a response");
        HttpClassifier::new().classify(Ok::<_, &io::Error>(&response))
    }

    #[test]
    fn every_status_has_its_class() {
        let class = |status| outcome(status, None).class();
        for status in [100, 200, 204, 301, 304, 404, 410, 412] {
            assert_eq!(class(status), None, "{status}");
        }
        for (status, expected) in [
            (400, ErrorClass::Validation),
            (401, ErrorClass::Authentication),
            (403, ErrorClass::Authentication),
            (422, ErrorClass::Validation),
            (429, ErrorClass::RateLimit),
            (500, ErrorClass::Server),
            (501, ErrorClass::Validation),
            (502, ErrorClass::Server),
            (503, ErrorClass::Server),
            (504, ErrorClass::Timeout),
            (599, ErrorClass::Server),
            (999, ErrorClass::Unknown),
        ] {
            assert_eq!(class(status), Some(expected), "{status}");
        }
    }

    #[test]
    fn a_hint_is_read_on_429_and_503_only_and_makes_a_503_a_rate_limit() {
        let hinted = Outcome::failure(ErrorClass::RateLimit).retry_after(Duration::from_secs(120));
        assert_eq!(outcome(429, Some("120")), hinted);
        assert_eq!(outcome(503, Some("120")), hinted);
        assert_eq!(outcome(200, Some("120")), Outcome::Success);
        assert_eq!(outcome(500, Some("120")), Outcome::failure(ErrorClass::Server));
        assert_eq!(outcome(503, Some("soon")), Outcome::failure(ErrorClass::Server));
    }

    #[test]
    fn case_66_a_408_has_no_vote() {
        assert_eq!(outcome(408, None), Outcome::Ignored);
    }

    #[test]
    fn the_first_of_several_hints_counts() {
        let mut headers = HeaderMap::new();
        headers.append(RETRY_AFTER, ::http::HeaderValue::from_static("7"));
        headers.append(RETRY_AFTER, ::http::HeaderValue::from_static("900"));
        let hinted = Outcome::failure(ErrorClass::RateLimit).retry_after(Duration::from_secs(7));
        assert_eq!(HttpClassifier::new().outcome(StatusCode::TOO_MANY_REQUESTS, &headers), hinted);
    }

    #[test]
    fn a_response_that_a_server_closer_to_the_backend_has_retried_is_not_retried() {
        let outcome = |status, attempts: u64| {
            let mut headers = HeaderMap::new();
            retry_attempt::set(&mut headers, attempts);
            HttpClassifier::new().outcome(status, &headers)
        };
        let server = Outcome::failure(ErrorClass::Server);
        assert_eq!(outcome(StatusCode::BAD_GATEWAY, 2), server.not_retryable());
        assert_eq!(outcome(StatusCode::BAD_GATEWAY, 0), server);
        assert_eq!(outcome(StatusCode::OK, 2), Outcome::Success);
    }

    #[test]
    fn a_hint_is_capped() {
        let capped = Outcome::failure(ErrorClass::RateLimit).retry_after(DAY);
        assert_eq!(outcome(429, Some("99999999999")), capped);
    }
}
