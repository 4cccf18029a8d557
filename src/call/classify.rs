//! Who decides what a result means.

use std::{error::Error, io};

use crate::call::{BoxError, ErrorClass, Outcome, PendingOutcome, Rejected, chain};

/// Turns the result of a call into an [`Outcome`].
///
/// A closure will do:
///
/// ```
/// use tower_reliability::{ErrorClass, Outcome, circuit_breaker::CircuitBreakerConfig};
///
/// let layer = CircuitBreakerConfig::new().build()?.classify(|result: Result<&String, &std::fmt::Error>| match result {
///     Ok(body) if body == "busy" => Outcome::failure(ErrorClass::RateLimit),
///     Ok(_) => Outcome::Success,
///     Err(_) => Outcome::failure(ErrorClass::Server),
/// });
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot classify `Result<{Res}, {Err}>`",
    note = "for a service whose error is a `BoxError`, use `.classify(BoxErrorClassifier)`",
    note = "for an error type of your own, implement `std::error::Error` or classify it with a closure"
)]
pub trait Classifier<Res, Err> {
    /// What this result says about the peer.
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome;

    /// Leaves the verdict on a response that is [`Deferred`](Outcome::Deferred) with somebody who will see its end.
    ///
    /// A circuit breaker asks this once for such a call. What was left has to be settled at the end, and holds the call's
    /// place until then. A classifier that never says `Deferred` need not care; nor need one that passes on what another
    /// says, unless it shall wait for the end too: then it passes this on as well. Default: gives the verdict back.
    ///
    /// ```
    /// use tower_reliability::{Classifier, Outcome, PendingOutcome};
    ///
    /// /// An answer in parts.
    /// struct Parts {
    ///     owed: Vec<PendingOutcome>,
    /// }
    ///
    /// #[derive(Clone)]
    /// struct ByParts;
    ///
    /// impl<E> Classifier<Parts, E> for ByParts {
    ///     fn classify(&self, result: Result<&Parts, &E>) -> Outcome {
    ///         result.map_or(Outcome::Ignored, |_| Outcome::Deferred)
    ///     }
    ///
    ///     fn defer(&self, parts: &mut Parts, verdict: PendingOutcome) -> Result<(), PendingOutcome> {
    ///         parts.owed.push(verdict); // settled by whoever reads the last part
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The verdict, where nobody will see the end; the call is a success then, at once.
    fn defer(&self, response: &mut Res, verdict: PendingOutcome) -> Result<(), PendingOutcome> {
        let _ = response;
        Err(verdict)
    }
}

impl<Res, Err, F> Classifier<Res, Err> for F
where
    F: Fn(Result<&Res, &Err>) -> Outcome,
{
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome {
        self(result)
    }
}

/// Every `Ok` is a success; an error is classified by [`outcome_of`]. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct StandardClassifier;

impl<Res, Err: Error + 'static> Classifier<Res, Err> for StandardClassifier {
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome {
        result.map_or_else(|error| outcome_of(error), |_| Outcome::Success)
    }
}

/// [`StandardClassifier`] for services whose error is a [`BoxError`], which is itself no [`Error`].
#[derive(Clone, Copy, Debug, Default)]
pub struct BoxErrorClassifier;

impl<Res> Classifier<Res, BoxError> for BoxErrorClassifier {
    fn classify(&self, result: Result<&Res, &BoxError>) -> Outcome {
        result.map_or_else(|error| outcome_of(error.as_ref()), |_| Outcome::Success)
    }
}

/// What an error says about the peer: the first error along its `source()` chain that can be named decides.
///
/// It knows this crate's [`Rejected`], the timeouts of tokio, and [`io::Error`] by its kind. What nobody can name
/// is a failure of class [`Unknown`](ErrorClass::Unknown).
///
/// ```
/// use std::io;
/// use tower_reliability::{ErrorClass, Outcome, outcome_of};
///
/// let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
/// assert_eq!(outcome_of(&refused), Outcome::failure(ErrorClass::Connection));
/// ```
#[must_use]
pub fn outcome_of(error: &(dyn Error + 'static)) -> Outcome {
    first_named(error, standard)
}

/// The verdict on the first error of the chain that `name` knows.
pub(crate) fn first_named(
    error: &(dyn Error + 'static),
    name: impl Fn(&(dyn Error + 'static)) -> Option<Outcome>,
) -> Outcome {
    find_named(error, name).unwrap_or(Outcome::failure(ErrorClass::Unknown))
}

/// What the first error of the chain that `name` knows says, if there is one.
pub(crate) fn find_named(
    error: &(dyn Error + 'static),
    name: impl Fn(&(dyn Error + 'static)) -> Option<Outcome>,
) -> Option<Outcome> {
    chain(error).find_map(name)
}

/// What this one error says, without its sources.
pub(crate) fn standard(error: &(dyn Error + 'static)) -> Option<Outcome> {
    if let Some(rejected) = error.downcast_ref::<Rejected>() {
        return Some(rejected.outcome());
    }
    if error.is::<tokio::time::error::Elapsed>() {
        return Some(Outcome::failure(ErrorClass::Timeout));
    }
    let error = error.downcast_ref::<io::Error>()?;
    let class = match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::NotConnected
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown => ErrorClass::Connection,
        io::ErrorKind::TimedOut => ErrorClass::Timeout,
        io::ErrorKind::PermissionDenied => ErrorClass::Authentication,
        io::ErrorKind::InvalidInput => ErrorClass::Validation,
        // An `io::Error` may hold an error of ours or of a transport; its source speaks for it.
        _ => return None,
    };
    Some(Outcome::failure(class))
}

#[cfg(test)]
mod tests {
    use std::{fmt, time::Duration};

    use super::*;
    use crate::{call::Reason, telemetry::Name};

    #[derive(Debug)]
    struct Wrapped(BoxError);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("wrapped")
        }
    }

    impl Error for Wrapped {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self.0.as_ref())
        }
    }

    fn class_of(kind: io::ErrorKind) -> Option<ErrorClass> {
        outcome_of(&io::Error::from(kind)).class()
    }

    #[test]
    fn an_io_error_is_named_by_its_kind() {
        assert_eq!(class_of(io::ErrorKind::ConnectionReset), Some(ErrorClass::Connection));
        assert_eq!(class_of(io::ErrorKind::TimedOut), Some(ErrorClass::Timeout));
        assert_eq!(class_of(io::ErrorKind::OutOfMemory), Some(ErrorClass::Unknown));
    }

    #[test]
    fn the_chain_is_walked_to_the_first_error_with_a_name() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let error = Wrapped(Box::new(Wrapped(Box::new(io::Error::other(Wrapped(Box::new(reset)))))));
        assert_eq!(outcome_of(&error), Outcome::failure(ErrorClass::Connection));
    }

    #[test]
    fn a_rejection_of_ours_is_ignored_and_a_timeout_of_ours_is_not() {
        let rejected = |reason| Wrapped(Box::new(Rejected::new(Name::new("x"), reason)));
        assert_eq!(outcome_of(&rejected(Reason::ProbesTaken)), Outcome::EndpointUnavailable);
        let limit = Duration::from_secs(1);
        assert_eq!(outcome_of(&rejected(Reason::Timeout { limit })), Outcome::failure(ErrorClass::Timeout));
    }

    #[tokio::test(start_paused = true)]
    async fn an_elapsed_tokio_timeout_is_a_timeout() {
        let elapsed = tokio::time::timeout(Duration::ZERO, std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(outcome_of(&elapsed), Outcome::failure(ErrorClass::Timeout));
    }

    #[test]
    fn a_boxed_error_is_walked_like_any_other() {
        let boxed: BoxError = Box::new(io::Error::from(io::ErrorKind::TimedOut));
        assert_eq!(BoxErrorClassifier.classify(Err::<&(), _>(&boxed)), Outcome::failure(ErrorClass::Timeout));
    }
}
