//! The error of a call, and the traits by which layers put rejections into errors and find them there.

use std::{error, fmt};

use crate::call::{
    Rejected,
    chain::{Report, find, reads},
};

/// An error of any type.
pub type BoxError = Box<dyn error::Error + Send + Sync>;

/// The error of a call: a layer rejected the call, or the inner service failed.
///
/// Every layer of a stack puts its [`Rejected`] into the same enum, and the innermost layer wraps the service's own
/// error once. [`ReliabilityStack`](crate::stack::ReliabilityStack) does this by itself. Around a single layer the
/// caller adds one line:
///
/// ```
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_reliability::{Error, circuit_breaker::CircuitBreakerConfig};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut service = ServiceBuilder::new()
///     .layer(CircuitBreakerConfig::new().build()?)
///     .map_err(Error::inner)
///     .service(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n + 1) }));
/// match service.ready().await?.call(1).await {
///     Ok(n) => assert_eq!(n, 2),
///     Err(Error::Rejected(rejected)) => println!("rejected by {rejected}"),
///     Err(Error::Inner(error)) => println!("backend failed: {error}"),
/// }
/// # Ok(()) }
/// ```
///
/// # In logs
///
/// The error itself says only "call rejected" or "call failed"; its source says the rest. A reporter that walks the
/// chain, such as `{:#}` of anyhow, therefore prints each sentence once. [`report`](Self::report) prints the whole
/// chain in one line.
///
/// # Nested stacks
///
/// The error of a stack around a stack is an `Error<Error<E>>`. [`rejected`](Self::rejected) and the two traits
/// [`AsRejected`] and [`IntoRejected`] find a rejection at any depth, so an outer fallback answers the rejection of an
/// inner stack. They read a chain 64 errors deep.
///
/// They need an `E` that implements [`std::error::Error`]. A [`BoxError`] does not; it carries rejections without this
/// wrapper. In a stack around a service with a `BoxError`, call `flat_errors()`, and
/// `classify(`[`BoxErrorClassifier`](crate::BoxErrorClassifier)`)` if a stage classifies, such as a retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// A layer on this side rejected the call.
    Rejected(Rejected),
    /// The inner service failed.
    Inner(E),
}

impl<E> Error<E> {
    /// Wraps the error of a service; for `.map_err(Error::inner)`.
    pub const fn inner(error: E) -> Self {
        Self::Inner(error)
    }
}

impl<E: error::Error + 'static> Error<E> {
    /// The rejection of the call, if a layer rejected it: a layer of this stack, or of a stack inside it.
    pub fn rejected(&self) -> Option<&Rejected> {
        match self {
            Self::Rejected(rejected) => Some(rejected),
            Self::Inner(error) => find(error),
        }
    }

    /// The error and its sources in one line, joined by `": "`, for a log.
    ///
    /// It leaves out a source whose text the error in front of it ends with, and stops after 64 errors.
    ///
    /// ```
    /// use std::io;
    /// use tower_reliability::Error;
    ///
    /// let error = Error::Inner(io::Error::other("disk full"));
    /// assert_eq!(error.to_string(), "call failed");
    /// assert_eq!(error.report().to_string(), "call failed: disk full");
    /// ```
    pub fn report(&self) -> impl fmt::Display + use<'_, E> {
        Report(self)
    }
}

impl<E> From<Rejected> for Error<E> {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

impl<E> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rejected(_) => "call rejected",
            Self::Inner(_) => CALL_FAILED,
        })
    }
}

impl<E: error::Error + 'static> error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Rejected(rejected) => Some(rejected),
            // An inner stack's "call failed" adds nothing to the outer one's: a reader goes on with its cause. The
            // text decides, because the type of the inner error is unknown here and may hide in an `io::Error`.
            Self::Inner(error) => error.source().filter(|_| reads(error, CALL_FAILED)).or(Some(error)),
        }
    }
}

/// The text of an [`Error::Inner`].
const CALL_FAILED: &str = "call failed";

/// An error type that can carry a [`Rejected`]: every type that is `From<Rejected>`.
///
/// [`BoxError`], [`Error<E>`](Error) and every enum of your own with a `From<Rejected>` have it. Implement
/// `From<Rejected>`, not this trait; the trait exists so that the compiler names the missing impl.
#[diagnostic::on_unimplemented(
    message = "the error `{Self}` cannot carry a rejection: add `.map_err(Error::inner)` inside this layer",
    label = "needs an error that is `From<tower_reliability::Rejected>`",
    note = "`ServiceBuilder::map_err` stands after this layer, with `tower_reliability::Error`",
    note = "a stack without `.flat_errors()` wraps the error by itself",
    note = "for axum, write `.layer((RejectionLayer::new(), layer, MapErrLayer::new(Error::inner)))`",
    note = "an error enum of your own implements `From<Rejected>` instead"
)]
pub trait FromRejected: Sized {
    /// The rejection, as this error.
    fn from_rejected(rejected: Rejected) -> Self;
}

// Without the attribute, the compiler reports the missing `From<Rejected>`, and not the message of this trait.
#[diagnostic::do_not_recommend]
impl<E: From<Rejected>> FromRejected for E {
    fn from_rejected(rejected: Rejected) -> Self {
        rejected.into()
    }
}

/// An error type from which a layer can take a [`Rejected`].
///
/// The layers that turn rejections into answers need it. [`Error<E>`](Error) and [`BoxError`] have it, for a
/// rejection at any depth of the chain, read 64 errors deep. Implement it for an enum of your own.
#[diagnostic::on_unimplemented(
    message = "no rejection can be taken from `{Self}`",
    label = "needs `tower_reliability::IntoRejected`",
    note = "for an error type of your own, implement `IntoRejected`"
)]
pub trait IntoRejected {
    /// The error that is left when it is no rejection.
    type Other;

    /// Takes the rejection.
    ///
    /// # Errors
    ///
    /// Returns the error itself when it is no rejection.
    fn into_rejected(self) -> Result<Rejected, Self::Other>;
}

impl<E: error::Error + 'static> IntoRejected for Error<E> {
    type Other = E;

    fn into_rejected(self) -> Result<Rejected, E> {
        match self {
            Self::Rejected(rejected) => Ok(rejected),
            Self::Inner(error) => find(&error).cloned().ok_or(error),
        }
    }
}

impl IntoRejected for BoxError {
    type Other = Self;

    fn into_rejected(self) -> Result<Rejected, Self> {
        self.as_rejected().cloned().ok_or(self)
    }
}

/// An error type in which a layer can see a [`Rejected`].
///
/// The layers that tell a rejection on this side from an error of the backend need it. [`Error<E>`](Error) and
/// [`BoxError`] have it, for a rejection at any depth of the chain, read 64 errors deep. Implement it for an enum of
/// your own:
///
/// ```
/// use tower_reliability::{AsRejected, Rejected};
///
/// enum PriceError { NotFound, Rejected(Rejected) }
///
/// impl AsRejected for PriceError {
///     fn as_rejected(&self) -> Option<&Rejected> {
///         if let Self::Rejected(rejected) = self { Some(rejected) } else { None }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a rejection cannot be seen in `{Self}`",
    label = "needs `tower_reliability::AsRejected`",
    note = "for an error type of your own, implement `AsRejected`, or add `.map_err(Error::inner)` inside this layer"
)]
pub trait AsRejected {
    /// The rejection; `None` for any other error.
    fn as_rejected(&self) -> Option<&Rejected>;
}

impl<E: error::Error + 'static> AsRejected for Error<E> {
    fn as_rejected(&self) -> Option<&Rejected> {
        self.rejected()
    }
}

impl AsRejected for BoxError {
    fn as_rejected(&self) -> Option<&Rejected> {
        find(self.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::{io, iter};

    use super::*;
    use crate::{call::Reason, telemetry::Name};

    fn rejected() -> Rejected {
        Rejected::new(Name::new("x"), Reason::ProbesTaken)
    }

    /// The texts that a reporter prints for an error and its sources.
    fn texts(error: &dyn error::Error) -> Vec<String> {
        iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
    }

    type Nested = Error<Error<io::Error>>;

    #[test]
    fn case_78_a_rejection_is_seen_at_any_depth() {
        let flat: Error<io::Error> = rejected().into();
        assert_eq!(flat.as_rejected(), Some(&rejected()));
        let nested: Nested = Error::Inner(rejected().into());
        assert_eq!(nested.as_rejected(), Some(&rejected()));
        assert_eq!(nested.into_rejected().ok(), Some(rejected()));
        let held: Nested = Error::Inner(Error::Inner(io::Error::other(flat)));
        assert_eq!(held.as_rejected(), Some(&rejected()));
        let boxed: BoxError = Box::new(held);
        assert_eq!(boxed.as_rejected(), Some(&rejected()));
        assert_eq!(boxed.into_rejected().ok(), Some(rejected()));
    }

    #[test]
    fn an_error_of_the_backend_is_no_rejection() {
        let error = Error::Inner(io::Error::other("down"));
        assert_eq!(error.as_rejected(), None);
        assert_eq!(error.into_rejected().map_err(|error| error.to_string()), Err("down".to_owned()));
        let error: BoxError = Box::new(Error::Inner(io::Error::other("down")));
        assert_eq!(error.as_rejected(), None);
    }

    #[test]
    fn case_78_no_text_stands_twice_in_a_chain() {
        let down = || io::Error::other("down");
        let failed = ["call failed", "down"];
        assert_eq!(texts(&Error::Inner(down())), failed);
        assert_eq!(texts(&Nested::Inner(Error::Inner(down()))), failed);
        assert_eq!(texts(&Error::Inner(io::Error::other(Nested::Inner(Error::Inner(down()))))), failed);
        let turned_away = "x: circuit half-open, all probes are out";
        assert_eq!(texts(&Error::<io::Error>::Rejected(rejected())), ["call rejected", turned_away]);
        let nested = Nested::Inner(rejected().into());
        assert_eq!(texts(&nested), ["call failed", "call rejected", turned_away]);
    }

    #[test]
    fn case_60_the_source_keeps_its_type() {
        let error = Error::Inner(io::Error::from(io::ErrorKind::ConnectionReset));
        let source = error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
        assert_eq!(source.map(io::Error::kind), Some(io::ErrorKind::ConnectionReset));
        // A leaf that reads "call failed" is the cause; nothing stands in for it.
        let leaf = Error::Inner(io::Error::other(CALL_FAILED));
        assert!(error::Error::source(&leaf).is_some_and(<dyn error::Error>::is::<io::Error>));
    }

    #[test]
    fn a_report_prints_the_chain_in_one_line_and_no_text_twice() {
        #[derive(Debug)]
        struct Verbose(io::Error);

        impl fmt::Display for Verbose {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "query failed: {}", self.0)
            }
        }

        impl error::Error for Verbose {
            fn source(&self) -> Option<&(dyn error::Error + 'static)> {
                Some(&self.0)
            }
        }

        let verbose = Error::Inner(Error::Inner(Verbose(io::Error::other("down"))));
        assert_eq!(verbose.report().to_string(), "call failed: query failed: down");
        let nested = Nested::Inner(rejected().into());
        let line = "call failed: call rejected: x: circuit half-open, all probes are out";
        assert_eq!(nested.report().to_string(), line);
    }

    #[test]
    fn a_chain_that_is_a_ring_ends() {
        #[derive(Debug)]
        struct Ring;

        impl fmt::Display for Ring {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("again")
            }
        }

        impl error::Error for Ring {
            fn source(&self) -> Option<&(dyn error::Error + 'static)> {
                Some(&Ring)
            }
        }

        assert_eq!(Error::Inner(Ring).rejected(), None);
        assert_eq!(Error::Inner(Ring).report().to_string(), "call failed: again");
    }
}
