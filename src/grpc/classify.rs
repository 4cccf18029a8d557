//! What a gRPC answer says about the server.

use std::{error::Error, time::Duration};

use ::http::{HeaderMap, Response, StatusCode};
use tonic::{Code, Status};

use super::{code, errors, pushback::hinted, stream_outcome::PendingOutcomes};
use crate::call::{Classifier, Outcome, PendingOutcome, Rejected};

/// Classifies gRPC answers by the status in their head, and the errors of tonic, hyper and h2.
///
/// | code | outcome |
/// |---|---|
/// | `OK`; `NOT_FOUND`, `ALREADY_EXISTS`, `FAILED_PRECONDITION`, `OUT_OF_RANGE` | success: the question is answered |
/// | `INVALID_ARGUMENT`, `ABORTED`, `UNIMPLEMENTED` | `Validation` |
/// | `UNAUTHENTICATED`, `PERMISSION_DENIED` | `Authentication` |
/// | `RESOURCE_EXHAUSTED` | `RateLimit` |
/// | `DEADLINE_EXCEEDED` | `Timeout` |
/// | `UNKNOWN`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS` | `Server` |
/// | `CANCELLED` | ignored: somebody gave up, which says nothing about the server |
///
/// Only what the transport itself has refused is [unprocessed](crate::Retryable::Unprocessed): a connection that was not made, a stream
/// reset with `REFUSED_STREAM`, or one that came after a graceful `GOAWAY`. What a server answers, it may have begun; see
/// [`unavailable_is_unprocessed`](Self::unavailable_is_unprocessed).
///
/// `grpc-retry-pushback-ms` says of any failure when to come back, or that it shall not be tried again; so does
/// `grpc-previous-rpc-attempts`, where somebody nearer to the server has tried again already.
///
/// A unary call that fails has its status in the head. A stream that has begun is a success as far as its head goes;
/// how it ended is in its trailers, which [`StreamOutcomeLayer`](super::StreamOutcomeLayer) reads, and for which a
/// breaker waits where this is told to say [`deferred`](Self::deferred). An HTTP answer that
/// is no gRPC, as a proxy gives it, has the code that gRPC's table gives to its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcClassifier {
    /// A bit for each code.
    successes: u32,
    unavailable_is_unprocessed: bool,
    max_retry_after: Duration,
    deferred: bool,
}

impl GrpcClassifier {
    /// With the defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self { successes: 0, unavailable_is_unprocessed: false, max_retry_after: DAY, deferred: false }
    }

    /// Takes this code for a success. Default: those of the table.
    #[must_use]
    pub const fn success(mut self, code: Code) -> Self {
        self.successes |= 1 << code as u32;
        self
    }

    /// Whether a call that was answered `UNAVAILABLE`, and nothing before it, may be sent again whatever it asks.
    ///
    /// It is for those who vouch for their servers. gRPC itself says of this code that it is not always safe to retry
    /// operations that do harm twice: a handler that has begun to work, and passes on with `?` that the next server is
    /// `UNAVAILABLE`, answers just so. With `true`, all of them give this code only before they begin, as a breaker does.
    /// `UNAVAILABLE` in trailers, from a proxy, or made up by this side is never taken for unprocessed. Default: false.
    #[must_use]
    pub const fn unavailable_is_unprocessed(mut self, is: bool) -> Self {
        self.unavailable_is_unprocessed = is;
        self
    }

    /// The longest pushback that is believed; a longer one is taken as this. Default: 1 day.
    #[must_use]
    pub const fn max_retry_after(mut self, delay: Duration) -> Self {
        self.max_retry_after = delay;
        self
    }

    /// Says of an answer whose head is well and has no status that its outcome is known [at its
    /// end](Outcome::Deferred), so that a breaker votes by the trailers.
    ///
    /// It belongs together with a [`StreamOutcomeLayer`](super::StreamOutcomeLayer) outside the breaker, which sees
    /// the end; there is an example. Without one, or with it inside, the verdict is dropped with the response's extensions:
    /// every call that goes well counts as abandoned, which by default is a failure.
    ///
    /// A call is slow by its head alone. A probe is judged by its head too: a circuit that waited for the ends of streams,
    /// which may last for hours, might never close. Default: off, a success at once.
    #[must_use]
    pub const fn deferred(mut self) -> Self {
        self.deferred = true;
        self
    }

    /// What the head of an answer says. A head without a status, as that of a stream, is a success, or with
    /// [`deferred`](Self::deferred) none yet.
    #[must_use]
    pub fn outcome(&self, status: StatusCode, headers: &HeaderMap) -> Outcome {
        match code_in(headers) {
            Some(Code::Unavailable) if self.unavailable_is_unprocessed => {
                let outcome = self.of_code(Code::Unavailable).unprocessed();
                hinted(outcome, headers, self.max_retry_after)
            }
            Some(code) => self.of_answer(code, headers),
            None if status.is_success() && self.deferred => Outcome::Deferred,
            None if status.is_success() => Outcome::Success,
            None => self.of_answer(code::code_of_http(status), headers),
        }
    }

    /// What the trailers of a stream say. Trailers without a status are a broken answer.
    #[must_use]
    pub fn outcome_of_trailers(&self, trailers: &HeaderMap) -> Outcome {
        self.of_answer(code_in(trailers).unwrap_or(Code::Unknown), trailers)
    }

    /// What a status says, such as a client of tonic's returns.
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

    /// What an error of a gRPC client says: the first along its chain that can be named.
    ///
    /// It is for closures over services whose error is a [`BoxError`](crate::BoxError), which is itself no
    /// [`Error`].
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
            // A rejection of this side that has become an answer is still no verdict on the peer.
            Ok(response) => match response.extensions().get::<Rejected>() {
                Some(rejected) => rejected.outcome(),
                None => self.outcome(response.status(), response.headers()),
            },
            Err(error) => self.outcome_of_error(error),
        }
    }

    /// Leaves it for a [`StreamOutcomeLayer`](super::StreamOutcomeLayer).
    fn defer(&self, response: &mut Response<B>, verdict: PendingOutcome) -> Result<(), PendingOutcome> {
        PendingOutcomes::leave(response.extensions_mut(), verdict);
        Ok(())
    }
}

/// The code in headers or trailers. One that nobody knows is `Unknown`.
///
/// `Status::from_header_map` would do it, and panics on details that are not in base64.
pub(super) fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

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

    #[test]
    fn the_status_in_the_head_decides_and_the_http_status_stands_in_for_it() {
        assert_eq!(outcome(200, &[]), Outcome::Success);
        assert_eq!(outcome(200, &[("grpc-status", "13")]), Outcome::failure(ErrorClass::Server));
        assert_eq!(outcome(200, &[("grpc-status", "77")]), Outcome::failure(ErrorClass::Server));
        assert_eq!(outcome(503, &[("grpc-status", "0")]), Outcome::Success);
        assert_eq!(outcome(503, &[]), Outcome::failure(ErrorClass::Server));
        assert_eq!(outcome(401, &[]), Outcome::failure(ErrorClass::Authentication));
    }

    #[test]
    fn a_head_that_is_well_says_nothing_yet_where_the_end_is_asked_for() {
        let deferred = |status, headers: &[(&str, &str)]| {
            GrpcClassifier::new().deferred().classify(Ok::<_, &io::Error>(&response(status, headers)))
        };
        assert_eq!(deferred(200, &[]), Outcome::Deferred);
        assert_eq!(deferred(200, &[("grpc-status", "0")]), Outcome::Success);
        assert_eq!(deferred(200, &[("grpc-status", "13")]), Outcome::failure(ErrorClass::Server));
        assert_eq!(deferred(503, &[]), Outcome::failure(ErrorClass::Server));
    }

    #[test]
    fn an_answer_is_unseen_only_for_who_vouches_for_it_and_if_it_is_nothing_but_unavailable() {
        let server = Outcome::failure(ErrorClass::Server);
        let head = response(200, &[("grpc-status", "14")]);
        let classify = |classifier: GrpcClassifier| classifier.classify(Ok::<_, &io::Error>(&head));
        let vouching = GrpcClassifier::new().unavailable_is_unprocessed(true);
        assert_eq!((classify(GrpcClassifier::new()), classify(vouching)), (server, server.unprocessed()));
        assert_eq!(vouching.outcome_of_trailers(head.headers()), server);
        let of_proxy = response(503, &[]);
        assert_eq!(vouching.classify(Ok::<_, &io::Error>(&of_proxy)), server);
    }

    #[test]
    fn a_pushback_is_the_hint_or_a_no_also_of_unavailable() {
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
    fn any_code_can_be_taken_for_a_success() {
        let classifier = GrpcClassifier::new().success(Code::Unimplemented).success(Code::Unauthenticated);
        for (code, expected) in [("12", true), ("16", true), ("3", false)] {
            let head = response(200, &[("grpc-status", code)]);
            let outcome = classifier.classify(Ok::<_, &io::Error>(&head));
            assert_eq!(outcome == Outcome::Success, expected, "{code}");
        }
    }

    #[test]
    fn trailers_without_a_status_are_a_broken_answer() {
        let none = GrpcClassifier::new().outcome_of_trailers(&HeaderMap::new());
        assert_eq!(none, Outcome::failure(ErrorClass::Server));
    }
}
