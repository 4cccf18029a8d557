//! Classifiers: from the result of a call to its outcome.

use std::{error::Error, io};

use crate::call::{BoxError, ErrorClass, Outcome, PendingOutcome, QuotaState, Rejected, chain};

/// Turns the result of a call into an [`Outcome`].
///
/// Every closure of this shape is a classifier, if it names the type of its argument. For a closure that leaves the types
/// to the compiler, the compiler says that an "implementation of `FnOnce` is not general enough"; [`classify_fn`] takes
/// such a closure.
///
/// ```
/// use std::fmt;
/// use tower_reliability::{ErrorClass, Outcome, circuit_breaker::CircuitBreakerConfig};
///
/// let layer = CircuitBreakerConfig::new().build()?.classify(
///     |result: Result<&String, &fmt::Error>| match result {
///         Ok(body) if body == "busy" => Outcome::failure(ErrorClass::RateLimit),
///         Ok(_) => Outcome::Success,
///         Err(_) => Outcome::failure(ErrorClass::Server),
///     },
/// );
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "the classifier `{Self}` cannot classify a `Result<&{Res}, &{Err}>`: name another one with `.classify(..)`",
    label = "needs a classifier for the results of the inner service",
    note = "write a closure as `.classify(classify_fn(|result| ..))`, or name its type: `|result: Result<&Response, &Error>|`",
    note = "for a service whose error is a `BoxError`, add `.classify(BoxErrorClassifier)`",
    note = "`StandardClassifier` takes errors that implement `std::error::Error`"
)]
pub trait Classifier<Res, Err> {
    /// The outcome of a call with this result.
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome;

    /// Puts the pending outcome of a [`Deferred`](Outcome::Deferred) call into its response.
    ///
    /// A circuit breaker calls this once per such call. The reader of the response settles the pending outcome at the
    /// end; until then the call keeps its place. A classifier that wraps another one passes this call on, or the breaker
    /// does not wait for the end. A classifier that never returns `Deferred` needs no `defer`. Default: returns the
    /// pending outcome.
    ///
    /// ```
    /// use tower_reliability::{Classifier, Outcome, PendingOutcome};
    ///
    /// /// An answer in parts.
    /// struct Parts {
    ///     pending: Vec<PendingOutcome>,
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
    ///     fn defer(
    ///         &self,
    ///         parts: &mut Parts,
    ///         pending: PendingOutcome,
    ///     ) -> Result<(), PendingOutcome> {
    ///         parts.pending.push(pending); // the reader of the last part settles it
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the pending outcome if no reader will see the end. The call then counts as a success at once.
    fn defer(&self, response: &mut Res, pending: PendingOutcome) -> Result<(), PendingOutcome> {
        let _ = response;
        Err(pending)
    }

    /// The rest of the caller's quota, if the response tells it.
    ///
    /// An [adaptive](crate::rate_limit::adaptive) rate limit spreads that rest over the time until the reset. A classifier
    /// that wraps another one passes this call on. Default: `None`.
    fn quota(&self, response: &Res) -> Option<QuotaState> {
        let _ = response;
        None
    }
}

// Without the attribute, the compiler asks a classifier of another protocol to be a closure.
#[diagnostic::do_not_recommend]
impl<Res, Err, F> Classifier<Res, Err> for F
where
    F: Fn(Result<&Res, &Err>) -> Outcome,
{
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome {
        self(result)
    }
}

/// A classifier of a closure that leaves the types of response and error to the compiler.
///
/// The function returns the closure as it is, and does nothing at run time. Without it, the compiler takes the closure
/// for one of a single lifetime, before it knows that a [`Classifier`] is wanted.
///
/// ```
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_reliability::{
///     Error, ErrorClass, Outcome, circuit_breaker::CircuitBreakerConfig, classify_fn,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let breaker = CircuitBreakerConfig::new().build()?.classify(classify_fn(|result| match result {
///     Ok(_) => Outcome::Success,
///     Err(_) => Outcome::failure(ErrorClass::Server),
/// }));
/// let client = ServiceBuilder::new()
///     .layer(breaker)
///     .map_err(Error::inner)
///     .service(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
/// assert_eq!(client.oneshot(1).await?, 1);
/// # Ok(()) }
/// ```
pub const fn classify_fn<Res, Err, F>(classify: F) -> F
where
    F: Fn(Result<&Res, &Err>) -> Outcome,
{
    classify
}

/// Takes every `Ok` for a success, and classifies errors with [`outcome_of`]. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct StandardClassifier;

impl<Res, Err: Error + 'static> Classifier<Res, Err> for StandardClassifier {
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome {
        result.map_or_else(|error| outcome_of(error), |_| Outcome::Success)
    }
}

/// [`StandardClassifier`] for services whose error is a [`BoxError`], because a `BoxError` is no [`Error`].
#[derive(Clone, Copy, Debug, Default)]
pub struct BoxErrorClassifier;

impl<Res> Classifier<Res, BoxError> for BoxErrorClassifier {
    fn classify(&self, result: Result<&Res, &BoxError>) -> Outcome {
        result.map_or_else(|error| outcome_of(error.as_ref()), |_| Outcome::Success)
    }
}

/// Takes every result for a success, and never defers: each call ends with its response. The default of the layers that
/// hold a place for a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct UntilResponse;

impl<Res, Err> Classifier<Res, Err> for UntilResponse {
    fn classify(&self, _result: Result<&Res, &Err>) -> Outcome {
        Outcome::Success
    }
}

/// The outcome of a call that failed with this error. The first known error of the chain decides.
///
/// Known are this crate's [`Rejected`], the timeouts of tokio, and [`io::Error`] by its kind. The function reads the
/// chain 64 errors deep. A chain without a known error is a failure of class [`Unknown`](ErrorClass::Unknown).
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

/// The outcome of the first error of the chain that `name` knows; a failure of class `Unknown` without one.
pub(crate) fn first_named(
    error: &(dyn Error + 'static),
    name: impl Fn(&(dyn Error + 'static)) -> Option<Outcome>,
) -> Outcome {
    find_named(error, name).unwrap_or(Outcome::failure(ErrorClass::Unknown))
}

/// The outcome of the first error of the chain that `name` knows.
pub(crate) fn find_named(
    error: &(dyn Error + 'static),
    name: impl Fn(&(dyn Error + 'static)) -> Option<Outcome>,
) -> Option<Outcome> {
    chain(error).find_map(name)
}

/// The outcome of this error alone, without its sources.
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
