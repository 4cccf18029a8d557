//! The outcome of a call: one vocabulary from which every layer takes its vote. The table is on [`Outcome`].

use std::{fmt, time::Duration};

/// The outcome of one call.
///
/// A [`Classifier`](crate::Classifier) classifies each result once, and each layer takes its own vote from the outcome:
///
/// | outcome | HTTP | gRPC | retry, hedge | breaker, consecutive failures | breaker, window |
/// |---|---|---|---|---|---|
/// | `Success`, `Deferred` | below 400, 404, 410, 412 | `OK`, `NOT_FOUND`, `ALREADY_EXISTS`, `FAILED_PRECONDITION`, `OUT_OF_RANGE` | – | reset | success |
/// | [`Validation`](ErrorClass::Validation) | other 4xx, 501 | `INVALID_ARGUMENT`, `ABORTED`, `UNIMPLEMENTED` | no | – | success |
/// | [`Authentication`](ErrorClass::Authentication) | 401, 403, 407 | `UNAUTHENTICATED`, `PERMISSION_DENIED` | no | – | success |
/// | [`RateLimit`](ErrorClass::RateLimit) | 429, 503 with `Retry-After` | `RESOURCE_EXHAUSTED` | retry after the hint, no hedge | – | failure |
/// | [`Server`](ErrorClass::Server) | other 5xx | `INTERNAL`, `UNKNOWN`, `UNAVAILABLE`, `DATA_LOSS` | if idempotent | failure | failure |
/// | [`Timeout`](ErrorClass::Timeout) | 504, a full attempt timeout | `DEADLINE_EXCEEDED` | if idempotent | failure | failure |
/// | [`Connection`](ErrorClass::Connection) | refused, reset, DNS, TLS | the same | if idempotent, or unprocessed | failure | failure |
/// | [`Unknown`](ErrorClass::Unknown) | an error without a name | the same, and an answer that is not gRPC | no | failure | failure |
/// | `Ignored` | 408, a deadline of the caller | `CANCELLED` | no | – | – |
/// | `EndpointUnavailable` | an open circuit | an open circuit | another endpoint only | – | – |
///
/// A rate-limit answer counts in the window but not as a consecutive failure: a backend that asks for fewer calls is
/// not dead. A wrong request counts as a success in the window, because a healthy backend has answered it. A
/// [fallback](crate::fallback) answers every rejection, and the failure classes that its config names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend did the work, or answered a question with "no".
    Success,
    /// The call failed.
    #[non_exhaustive]
    Failure {
        /// The kind of failure.
        class: ErrorClass,
        /// The wait that the backend asks for before the next call, if it names one.
        retry_after: Option<Duration>,
        /// Whether a layer may send the same request again.
        retryable: Retryable,
    },
    /// The answer has begun, and its end decides, as in a gRPC stream.
    ///
    /// A circuit breaker waits for the end with its vote, if [`Classifier::defer`](crate::Classifier::defer) accepts the
    /// pending outcome. The other layers treat the call as a success: a started answer cannot be retried or replaced.
    Deferred,
    /// The caller's deadline ended the call before the backend answered.
    ///
    /// A circuit breaker judges such a call by the time that the backend had. Every other layer treats it as
    /// [`Ignored`](Self::Ignored).
    DeadlineExceeded,
    /// The result says nothing about the backend: a rejection on this side, for example.
    Ignored,
    /// A layer rejected the call in front of one endpoint, and another endpoint may take it. Otherwise like
    /// [`Ignored`](Self::Ignored).
    EndpointUnavailable,
}

/// Whether a layer may send a failed request again, as far as the failure tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retryable {
    /// Yes, if the request is idempotent: the backend may have processed it.
    #[default]
    IfIdempotent,
    /// Yes: the backend has not seen the request, or says that it has not begun.
    Unprocessed,
    /// No: the backend forbids it, or an inner layer has already retried.
    Never,
}

impl Outcome {
    /// A failure of this class, without a hint.
    #[must_use]
    pub const fn failure(class: ErrorClass) -> Self {
        Self::Failure { class, retry_after: None, retryable: Retryable::IfIdempotent }
    }

    /// The same failure, with the wait that the backend asks for. Other outcomes stay as they are.
    #[must_use]
    pub const fn retry_after(self, delay: Duration) -> Self {
        match self {
            Self::Failure { class, retryable, .. } => {
                Self::Failure { class, retry_after: Some(delay), retryable }
            }
            other => other,
        }
    }

    /// The same failure, of a request that the backend has not processed. A layer may send such a request again even if
    /// it is not idempotent. Other outcomes stay as they are.
    #[must_use]
    pub const fn unprocessed(self) -> Self {
        self.retryable(Retryable::Unprocessed)
    }

    /// The same failure, of a request that no layer may send again. Other outcomes stay as they are.
    #[must_use]
    pub const fn not_retryable(self) -> Self {
        self.retryable(Retryable::Never)
    }

    /// Whether no backend has begun to process the request.
    #[must_use]
    pub(crate) const fn is_unprocessed(self) -> bool {
        matches!(self, Self::EndpointUnavailable | Self::Failure { retryable: Retryable::Unprocessed, .. })
    }

    const fn retryable(self, retryable: Retryable) -> Self {
        match self {
            Self::Failure { class, retry_after, .. } => Self::Failure { class, retry_after, retryable },
            other => other,
        }
    }

    /// Whether a failure speaks against the backend's health; `None` if there is no failure. A backend that explains an
    /// error in a request is healthy.
    pub(crate) const fn blames_backend(&self) -> Option<bool> {
        match self {
            Self::Failure { class, .. } => {
                Some(!matches!(class, ErrorClass::Validation | ErrorClass::Authentication))
            }
            _ => None,
        }
    }

    /// Whether the call has succeeded so far: [`Success`](Self::Success) or [`Deferred`](Self::Deferred).
    #[must_use]
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Success | Self::Deferred)
    }

    /// The class of a failure; `None` for any other outcome.
    #[must_use]
    pub const fn class(&self) -> Option<ErrorClass> {
        match self {
            Self::Failure { class, .. } => Some(*class),
            _ => None,
        }
    }
}

/// The seven kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum ErrorClass {
    /// The connection failed: refused, reset, DNS, TLS.
    Connection,
    /// The backend did not answer in time.
    Timeout,
    /// The backend asks for fewer calls: HTTP 429, 503 with `Retry-After`.
    RateLimit,
    /// The backend failed: HTTP 5xx.
    Server,
    /// The backend does not know the caller, or denies access: HTTP 401, 403.
    Authentication,
    /// The request is wrong: HTTP 4xx.
    Validation,
    /// The classifier does not know the error.
    Unknown,
}

impl ErrorClass {
    /// All classes, in their documented order.
    pub const ALL: [Self; 7] = [
        Self::Connection,
        Self::Timeout,
        Self::RateLimit,
        Self::Server,
        Self::Authentication,
        Self::Validation,
        Self::Unknown,
    ];

    /// The class in lower case, for configs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Timeout => "timeout",
            Self::RateLimit => "rate_limit",
            Self::Server => "server",
            Self::Authentication => "authentication",
            Self::Validation => "validation",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_belongs_to_a_failure_only() {
        let hint = Duration::from_secs(3);
        assert_eq!(Outcome::Success.retry_after(hint), Outcome::Success);
        assert_eq!(
            Outcome::failure(ErrorClass::RateLimit).not_retryable().retry_after(hint),
            Outcome::Failure {
                class: ErrorClass::RateLimit,
                retry_after: Some(hint),
                retryable: Retryable::Never
            }
        );
    }

    #[test]
    fn an_answer_that_has_begun_is_a_success_so_far() {
        assert!(Outcome::Success.is_success() && Outcome::Deferred.is_success());
        assert!(!Outcome::Ignored.is_success() && !Outcome::EndpointUnavailable.is_success());
        assert!(!Outcome::failure(ErrorClass::Server).is_success());
    }

    #[test]
    fn only_a_failure_can_be_unprocessed() {
        assert_eq!(Outcome::Ignored.unprocessed(), Outcome::Ignored);
        let refused = Outcome::failure(ErrorClass::Connection).unprocessed();
        assert!(matches!(refused, Outcome::Failure { retryable: Retryable::Unprocessed, .. }));
    }
}
