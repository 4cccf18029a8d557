//! What an HTTP response says about the server.

use std::{error::Error, time::Duration};

use ::http::{HeaderMap, Response, StatusCode, header::RETRY_AFTER};

use super::{errors, retry_after, retry_attempt};
use crate::{
    call::{Classifier, ErrorClass, Outcome},
    rt::clock,
};

/// Classifies HTTP responses by their status, and the errors of hyper, hyper-util and, with the feature `reqwest`,
/// reqwest.
///
/// | status | outcome |
/// |---|---|
/// | below 400; 404, 410, 412 | success: the server has answered the question |
/// | 401, 403, 407 | `Authentication` |
/// | 408, 504 | `Timeout` |
/// | 429; 503 with `Retry-After` | `RateLimit`, with the hint |
/// | other 4xx, 501 | `Validation` |
/// | other 5xx | `Server` |
///
/// `Retry-After` is read on 429 and 503 only, as seconds or as a date.
///
/// It also says whether a failed request may be sent again:
///
/// | what happened | [`Again`](crate::Retryable) |
/// |---|---|
/// | no connection came about; hyper had not begun to write the request | `Unprocessed` |
/// | a failing response has `x-retry-attempt: 1` or more: somebody nearer to the peer has tried again already | `Never` |
/// | everything else | `IfIdempotent` |
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

    /// The longest `Retry-After` that is believed; a longer one is taken as this. Default: 1 day.
    #[must_use]
    pub const fn max_retry_after(mut self, delay: Duration) -> Self {
        self.max_retry_after = delay;
        self
    }

    /// What an error of an HTTP client says: the first along its chain that can be named.
    ///
    /// Where the body of the request has failed, be it with the error of some other connection, that is the caller's own
    /// failure and no verdict on the peer: [`Ignored`](Outcome::Ignored).
    ///
    /// It is for closures over services whose error is a [`BoxError`](crate::BoxError), which is itself no
    /// [`Error`].
    #[must_use]
    pub fn outcome_of_error(&self, error: &(dyn Error + 'static)) -> Outcome {
        errors::outcome_of(error)
    }

    /// What a response of this status and with these headers says.
    #[must_use]
    pub fn outcome(&self, status: StatusCode, headers: &HeaderMap) -> Outcome {
        let Some(class) = class_of(status) else {
            return Outcome::Success;
        };
        let outcome = self.failure(class, status, headers);
        if retry_attempt::says_so(headers) { outcome.not_retryable() } else { outcome }
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
}

#[cfg(feature = "reqwest")]
impl<E: Error + 'static> Classifier<reqwest::Response, E> for HttpClassifier {
    fn classify(&self, result: Result<&reqwest::Response, &E>) -> Outcome {
        match result {
            Ok(response) => self.outcome(response.status(), response.headers()),
            Err(error) => errors::outcome_of(error),
        }
    }
}

/// The class of a status without a hint; `None` for success.
pub(super) fn class_of(status: StatusCode) -> Option<ErrorClass> {
    match status.as_u16() {
        ..400 | 404 | 410 | 412 => None,
        401 | 403 | 407 => Some(ErrorClass::Authentication),
        408 | 504 => Some(ErrorClass::Timeout),
        429 => Some(ErrorClass::RateLimit),
        // "Not implemented" will not be implemented by asking again, and is no sign of illness.
        400..500 | 501 => Some(ErrorClass::Validation),
        500..600 => Some(ErrorClass::Server),
        600.. => Some(ErrorClass::Unknown),
    }
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
            (408, ErrorClass::Timeout),
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
    fn nobody_tries_again_what_somebody_nearer_to_the_peer_has_tried_again() {
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
