//! The classifier of gRPC answers.

use std::{error::Error, time::Duration};

use ::http::{HeaderMap, Response, StatusCode, header::CONTENT_TYPE};
use tonic::{Code, Status};

use super::{code, errors, pushback::hinted};
use crate::{
    call::{Classifier, ErrorClass, Outcome, PendingOutcome, Rejected},
    http::pending_outcomes::PendingOutcomes,
};

/// Classifies gRPC answers by their head, and the errors of tonic, hyper and h2.
///
/// | head of the answer | outcome |
/// |---|---|
/// | `OK`, `NOT_FOUND`, `ALREADY_EXISTS`, `FAILED_PRECONDITION`, `OUT_OF_RANGE` | success |
/// | `INVALID_ARGUMENT`, `ABORTED`, `UNIMPLEMENTED` | failure: `Validation` |
/// | `UNAUTHENTICATED`, `PERMISSION_DENIED` | failure: `Authentication` |
/// | `RESOURCE_EXHAUSTED` | failure: `RateLimit` |
/// | `DEADLINE_EXCEEDED` | failure: `Timeout` |
/// | `UNKNOWN`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS` | failure: `Server` |
/// | `CANCELLED` | ignored |
/// | HTTP 200, `content-type: application/grpc…`, no status yet | success, or [`deferred`](Self::deferred) |
/// | any other HTTP 2xx without a status, or of another content type | failure: `Unknown` |
/// | any other HTTP status without a gRPC status | the code of gRPC's [mapping], classified as above |
///
/// # `CANCELLED` and `DEADLINE_EXCEEDED`
///
/// tonic ends a call with `CANCELLED` when its own timer on `grpc-timeout` fires. On the client, the error still
/// carries tonic's `TimeoutExpired`, and the outcome is a failure of class `Timeout`. From a server, this
/// `CANCELLED` looks like any other, so the classifier ignores it. A timeout layer with
/// [`GrpcTimeout`](super::GrpcTimeout) fires before both timers and answers `DEADLINE_EXCEEDED`.
///
/// # Retries
///
/// A failure is [unprocessed](crate::Retryable::Unprocessed) only if the transport proves it: no connection, a stream
/// reset with `REFUSED_STREAM`, or a stream after a graceful `GOAWAY`. A server may have begun any call that it
/// answers; see [`unavailable_is_unprocessed`](Self::unavailable_is_unprocessed).
///
/// On any failure, the classifier reads `grpc-retry-pushback-ms`: a delay, or a refusal of further attempts. With
/// `RESOURCE_EXHAUSTED`, the delay also pauses a rate limit that [adapts](crate::rate_limit::adaptive). An
/// answer with `grpc-previous-rpc-attempts` above 0 is [not retryable](crate::Retryable::Never), because a hop
/// closer to the server has retried already.
///
/// # Streams
///
/// The head of a failed unary call carries its status. A stream carries its status in its trailers, which
/// [`StreamOutcomeLayer`](super::StreamOutcomeLayer) reads. With [`deferred`](Self::deferred), a breaker waits for
/// them.
///
/// [mapping]: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcClassifier {
    /// A bit for each code.
    successes: u32,
    unavailable_is_unprocessed: bool,
    max_retry_after: Duration,
    deferred: bool,
}

impl GrpcClassifier {
    /// A classifier with the defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self { successes: 0, unavailable_is_unprocessed: false, max_retry_after: DAY, deferred: false }
    }

    /// Also takes this code for a success.
    ///
    /// A success resets the breaker's consecutive failures and is not retried. Default: the codes of the table.
    #[must_use]
    pub const fn success(mut self, code: Code) -> Self {
        self.successes |= 1 << code as u32;
        self
    }

    /// Whether the head `UNAVAILABLE` proves that the server has not begun the call.
    ///
    /// With `true`, a retry resends such a call even if it is not idempotent. Set it only if every handler returns
    /// this code before it does any work, as a breaker does. A handler that passes on the `UNAVAILABLE` of the next
    /// server with `?` breaks that promise. `UNAVAILABLE` in trailers, from a proxy, or made on this side never
    /// counts as unprocessed. Default: false.
    #[must_use]
    pub const fn unavailable_is_unprocessed(mut self, is: bool) -> Self {
        self.unavailable_is_unprocessed = is;
        self
    }

    /// Caps the pushback of a server.
    ///
    /// A longer pushback counts as this long. A high cap lets one server delay retries for long. Default: 1 day.
    #[must_use]
    pub const fn max_retry_after(mut self, delay: Duration) -> Self {
        self.max_retry_after = delay;
        self
    }

    /// Reports an answer that has begun as [`Deferred`](Outcome::Deferred), so that a breaker votes by its trailers.
    ///
    /// Put a [`StreamOutcomeLayer`](super::StreamOutcomeLayer) around the breaker: it sees the end and settles the
    /// vote. Without it, or with it inside the breaker, no layer settles the pending outcome. Successful calls then
    /// have no vote.
    ///
    /// A call is slow by the time to its head. A probe counts by its head too: streams may last for hours, and the
    /// circuit would stay half-open for as long. Default: off, a success at the head.
    #[must_use]
    pub const fn deferred(mut self) -> Self {
        self.deferred = true;
        self
    }

    /// Classifies the head of an answer.
    #[must_use]
    pub fn outcome(&self, status: StatusCode, headers: &HeaderMap) -> Outcome {
        match Head::of(status, headers) {
            Head::Begun if self.deferred => Outcome::Deferred,
            Head::Begun => Outcome::Success,
            Head::Ended(Code::Unavailable) if self.unavailable_is_unprocessed => {
                let outcome = self.of_code(Code::Unavailable).unprocessed();
                hinted(outcome, headers, self.max_retry_after)
            }
            Head::Ended(code) => self.of_answer(code, headers),
            Head::Foreign if status.is_success() => Outcome::failure(ErrorClass::Unknown),
            Head::Foreign => self.of_answer(code::code_of_http(status), headers),
        }
    }

    /// Classifies the trailers of a stream. Trailers without a status are a failure of class `Server`.
    #[must_use]
    pub fn outcome_of_trailers(&self, trailers: &HeaderMap) -> Outcome {
        self.of_answer(code_in(trailers).unwrap_or(Code::Unknown), trailers)
    }

    /// Classifies a status, such as a client of tonic returns.
    ///
    /// ```
    /// use tonic::Status;
    /// use tower_reliability::{ErrorClass, Outcome, grpc::GrpcClassifier};
    ///
    /// let busy = Status::resource_exhausted("come back later");
    /// let outcome = GrpcClassifier::new().outcome_of_status(&busy);
    /// assert_eq!(outcome, Outcome::failure(ErrorClass::RateLimit));
    /// ```
    #[must_use]
    pub fn outcome_of_status(&self, status: &Status) -> Outcome {
        self.outcome_of_error(status)
    }

    /// Classifies an error of a gRPC client by the first error along its chain that has a class.
    ///
    /// The classifier reads at most 64 errors of the chain. The method serves closures over services whose error is a
    /// [`BoxError`](crate::BoxError), which is itself no [`Error`].
    #[must_use]
    pub fn outcome_of_error(&self, error: &(dyn Error + 'static)) -> Outcome {
        errors::outcome_of(error, |status| self.of_answer(status.code(), status.metadata().as_ref()))
    }

    fn of_answer(&self, code: Code, headers: &HeaderMap) -> Outcome {
        hinted(self.of_code(code), headers, self.max_retry_after)
    }

    const fn of_code(&self, code: Code) -> Outcome {
        if self.successes & (1 << code as u32) == 0 { code::outcome_of(code) } else { Outcome::Success }
    }
}

impl Default for GrpcClassifier {
    fn default() -> Self {
        Self::new()
    }
}

impl<B, E: Error + 'static> Classifier<Response<B>, E> for GrpcClassifier {
    fn classify(&self, result: Result<&Response<B>, &E>) -> Outcome {
        match result {
            // A rejection that this process turned into an answer still says nothing about the backend.
            Ok(response) => match response.extensions().get::<Rejected>() {
                Some(rejected) => rejected.outcome(),
                None => self.outcome(response.status(), response.headers()),
            },
            Err(error) => self.outcome_of_error(error),
        }
    }

    /// Leaves the pending outcome in the response for a [`StreamOutcomeLayer`](super::StreamOutcomeLayer).
    fn defer(&self, response: &mut Response<B>, pending: PendingOutcome) -> Result<(), PendingOutcome> {
        PendingOutcomes::leave(response.extensions_mut(), pending);
        Ok(())
    }
}

/// The three kinds of heads.
pub(super) enum Head {
    /// The trailers will carry the status.
    Begun,
    /// The head carries the status.
    Ended(Code),
    /// The head is not gRPC: it comes from a proxy, or from a server of another protocol.
    Foreign,
}

impl Head {
    pub(super) fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        let is_grpc = headers.get(CONTENT_TYPE).map(|value| is_grpc(value.as_bytes()));
        match code_in(headers) {
            // A head with a status may lack a content type. A foreign one voids the status, as in grpc-go.
            Some(code) if is_grpc != Some(false) => Self::Ended(code),
            None if is_grpc == Some(true) && status == StatusCode::OK => Self::Begun,
            _ => Self::Foreign,
        }
    }
}

/// Media types ignore case. `application/grpc+proto` and `application/grpc-web` are gRPC too.
fn is_grpc(content_type: &[u8]) -> bool {
    content_type.get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
}

/// The code in headers or trailers; an unknown code is `Unknown`.
///
/// `Status::from_header_map` does the same, but panics on details that are not in base64.
fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

const GRPC: &[u8] = b"application/grpc";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::call::{ErrorClass, Retryable};

    fn response(status: u16, headers: &[(&str, &str)]) -> Response<()> {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).expect("it is a response")
    }

    fn outcome(status: u16, headers: &[(&str, &str)]) -> Outcome {
        GrpcClassifier::new().classify(Ok::<_, &io::Error>(&response(status, headers)))
    }

    const BEGUN: &[(&str, &str)] = &[("content-type", "application/grpc")];

    #[test]
    fn the_status_in_the_head_decides_and_the_http_status_replaces_a_missing_one() {
        assert_eq!(outcome(200, BEGUN), Outcome::Success);
        assert_eq!(outcome(200, &[("grpc-status", "13")]), Outcome::failure(ErrorClass::Server));
        assert_eq!(outcome(200, &[("grpc-status", "77")]), Outcome::failure(ErrorClass::Server));
        assert_eq!(outcome(503, &[("grpc-status", "0")]), Outcome::Success);
        assert_eq!(outcome(503, &[]), Outcome::failure(ErrorClass::Server));
        assert_eq!(outcome(401, &[]), Outcome::failure(ErrorClass::Authentication));
    }

    #[test]
    fn a_content_type_is_grpc_by_its_beginning_in_any_case() {
        for grpc in
            ["application/grpc", "application/grpc+json", "Application/gRPC; x=y", "application/grpc-web"]
        {
            assert_eq!(outcome(200, &[("content-type", grpc)]), Outcome::Success, "{grpc}");
        }
        for foreign in ["", "application/grp", "text/html", " application/grpc"] {
            let unknown = Outcome::failure(ErrorClass::Unknown);
            assert_eq!(outcome(200, &[("content-type", foreign)]), unknown, "{foreign:?}");
        }
    }

    #[test]
    fn an_answer_that_has_begun_is_deferred_on_request() {
        let deferred = |status, headers: &[(&str, &str)]| {
            GrpcClassifier::new().deferred().classify(Ok::<_, &io::Error>(&response(status, headers)))
        };
        assert_eq!(deferred(200, BEGUN), Outcome::Deferred);
        assert_eq!(deferred(200, &[("grpc-status", "0")]), Outcome::Success);
        assert_eq!(deferred(200, &[("grpc-status", "13")]), Outcome::failure(ErrorClass::Server));
        assert_eq!(deferred(503, BEGUN), Outcome::failure(ErrorClass::Server));
    }

    #[test]
    fn only_a_head_with_unavailable_is_unprocessed_and_only_on_request() {
        let server = Outcome::failure(ErrorClass::Server);
        let head = response(200, &[("grpc-status", "14")]);
        let classify = |classifier: GrpcClassifier| classifier.classify(Ok::<_, &io::Error>(&head));
        let trusting = GrpcClassifier::new().unavailable_is_unprocessed(true);
        assert_eq!((classify(GrpcClassifier::new()), classify(trusting)), (server, server.unprocessed()));
        assert_eq!(trusting.outcome_of_trailers(head.headers()), server);
        let proxy = response(503, &[]);
        assert_eq!(trusting.classify(Ok::<_, &io::Error>(&proxy)), server);
    }

    #[test]
    fn a_pushback_is_a_delay_or_a_refusal() {
        let pushed = |value| outcome(200, &[("grpc-status", "14"), ("grpc-retry-pushback-ms", value)]);
        let unavailable = Outcome::failure(ErrorClass::Server);
        assert_eq!(pushed("250"), unavailable.retry_after(Duration::from_millis(250)));
        assert_eq!(pushed("-1"), Outcome::failure(ErrorClass::Server).not_retryable());
        assert_eq!(pushed("99999999999999"), unavailable.retry_after(DAY));
        assert!(matches!(
            outcome(200, &[("grpc-status", "8"), ("grpc-previous-rpc-attempts", "1")]),
            Outcome::Failure { class: ErrorClass::RateLimit, retryable: Retryable::Never, .. }
        ));
    }

    #[test]
    fn any_code_can_count_as_a_success() {
        let classifier = GrpcClassifier::new().success(Code::Unimplemented).success(Code::Unauthenticated);
        for (code, expected) in [("12", true), ("16", true), ("3", false)] {
            let head = response(200, &[("grpc-status", code)]);
            let outcome = classifier.classify(Ok::<_, &io::Error>(&head));
            assert_eq!(outcome == Outcome::Success, expected, "{code}");
        }
    }

    #[test]
    fn trailers_without_a_status_are_a_failure() {
        let none = GrpcClassifier::new().outcome_of_trailers(&HeaderMap::new());
        assert_eq!(none, Outcome::failure(ErrorClass::Server));
    }
}
