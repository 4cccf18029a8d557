//! What a call came to, in the one vocabulary from which every layer takes its vote.

use std::{fmt, time::Duration};

/// The verdict on one finished call.
///
/// A [`Classifier`](crate::Classifier) gives it once; each layer draws its own conclusion from it. A rate-limit
/// answer, for example, is a failure in a circuit breaker's window but never one of its consecutive failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The peer did what was asked, or answered a question with "no".
    Success,
    /// The call failed.
    #[non_exhaustive]
    Failure {
        /// What kind of failure it was.
        class: ErrorClass,
        /// When the peer asked to be called again, if it said so.
        retry_after: Option<Duration>,
        /// Whether the same request may be sent again.
        retryable: Retryable,
    },
    /// The answer has begun; what it comes to is known at its end, as with a gRPC stream.
    ///
    /// A circuit breaker waits for that with its vote, if [`Classifier::defer`](crate::Classifier::defer) can arrange it;
    /// to everybody else it is a success: what has begun cannot be tried again, nor answered otherwise.
    Deferred,
    /// The caller's deadline ended the call before the peer answered.
    ///
    /// A circuit breaker judges such a call by the time that the peer had. Every other layer treats it as
    /// [`Ignored`](Self::Ignored).
    DeadlineExceeded,
    /// Says nothing about the peer, such as a rejection made on this side.
    Ignored,
    /// Turned away on this side in front of one endpoint; another endpoint may take it. Else as [`Ignored`](Self::Ignored).
    EndpointUnavailable,
}

/// Whether a request that failed may be sent again, as far as the failure itself says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retryable {
    /// Yes, if it does no harm to do twice what was asked: the peer may have done it.
    #[default]
    IfIdempotent,
    /// Yes: the peer has not seen it, or says that it has not begun.
    Unprocessed,
    /// No: the peer asks not to, or somebody nearer to it has tried again already.
    Never,
}

impl Outcome {
    /// A failure of a class, with no hint when to come back.
    #[must_use]
    pub const fn failure(class: ErrorClass) -> Self {
        Self::Failure { class, retry_after: None, retryable: Retryable::IfIdempotent }
    }

    /// The same failure, with the peer's word on when to come back. Changes nothing but failures.
    #[must_use]
    pub const fn retry_after(self, delay: Duration) -> Self {
        match self {
            Self::Failure { class, retryable, .. } => {
                Self::Failure { class, retry_after: Some(delay), retryable }
            }
            other => other,
        }
    }

    /// The same failure of a request that the peer has not seen, so that it may be sent again whatever it asks.
    /// Changes nothing but failures.
    #[must_use]
    pub const fn unprocessed(self) -> Self {
        self.retryable(Retryable::Unprocessed)
    }

    /// The same failure of a request that shall not be sent again. Changes nothing but failures.
    #[must_use]
    pub const fn not_retryable(self) -> Self {
        self.retryable(Retryable::Never)
    }

    /// Whether it is certain that no peer has seen the request, or has begun.
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

    /// Whether a failure speaks against the peer's health; `None` where there is no failure. A peer that says what is wrong
    /// with a request is well.
    pub(crate) const fn blames_peer(&self) -> Option<bool> {
        match self {
            Self::Failure { class, .. } => {
                Some(!matches!(class, ErrorClass::Validation | ErrorClass::Authentication))
            }
            _ => None,
        }
    }

    /// Whether the call went well, as far as is known: [`Success`](Self::Success) or [`Deferred`](Self::Deferred).
    #[must_use]
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Success | Self::Deferred)
    }

    /// The class of a failure; `None` for everything else.
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
    /// The peer was not reached, or the connection broke: refused, reset, DNS, TLS.
    Connection,
    /// The peer did not answer in time.
    Timeout,
    /// The peer is there and asks for fewer calls: HTTP 429, 503 with `Retry-After`.
    RateLimit,
    /// The peer is broken: HTTP 5xx.
    Server,
    /// Who asked is not known, or may not: HTTP 401, 403.
    Authentication,
    /// What was asked is wrong: HTTP 4xx.
    Validation,
    /// An error that nobody could name.
    Unknown,
}

impl ErrorClass {
    /// All classes, in the order in which they are documented.
    pub const ALL: [Self; 7] = [
        Self::Connection,
        Self::Timeout,
        Self::RateLimit,
        Self::Server,
        Self::Authentication,
        Self::Validation,
        Self::Unknown,
    ];

    /// The class in lower case, as configs and metrics spell it.
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
    fn an_answer_that_has_begun_is_well_so_far() {
        assert!(Outcome::Success.is_success() && Outcome::Deferred.is_success());
        assert!(!Outcome::Ignored.is_success() && !Outcome::EndpointUnavailable.is_success());
        assert!(!Outcome::failure(ErrorClass::Server).is_success());
    }

    #[test]
    fn only_a_failure_can_be_unseen() {
        assert_eq!(Outcome::Ignored.unprocessed(), Outcome::Ignored);
        let refused = Outcome::failure(ErrorClass::Connection).unprocessed();
        assert!(matches!(refused, Outcome::Failure { retryable: Retryable::Unprocessed, .. }));
    }
}
