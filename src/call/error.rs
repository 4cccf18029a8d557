//! The error types: a call's, and a config's.

use std::{error, fmt};

use crate::call::{Rejected, chain};

/// An error of any type.
pub type BoxError = Box<dyn error::Error + Send + Sync>;

/// Either the call was turned away on this side, or the service below failed.
///
/// It is flat at any depth: every layer of a stack puts its [`Rejected`] into the same enum, and the service's
/// own error is wrapped once, at the bottom. [`ReliabilityStack`](crate::stack::ReliabilityStack) does that by
/// itself; around a single layer it is one line:
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
///     Err(Error::Rejected(rejected)) => println!("turned away: {rejected}"),
///     Err(Error::Inner(error)) => println!("peer failed: {error}"),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// The call was turned away on this side.
    Rejected(Rejected),
    /// The service below failed.
    Inner(E),
}

impl<E> Error<E> {
    /// Wraps the error of a service; for `.map_err(Error::inner)`.
    pub const fn inner(error: E) -> Self {
        Self::Inner(error)
    }

    /// The rejection, if it is one.
    pub const fn rejected(&self) -> Option<&Rejected> {
        match self {
            Self::Rejected(rejected) => Some(rejected),
            Self::Inner(_) => None,
        }
    }
}

impl<E> From<Rejected> for Error<E> {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejected) => rejected.fmt(f),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: error::Error + 'static> error::Error for Error<E> {
    // It prints like what it holds, so that a plain `{error}` in a log says what happened, and still yields
    // that as its source, so that a walk down the chain can downcast it.
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Rejected(rejected) => Some(rejected),
            Self::Inner(error) => Some(error),
        }
    }
}

/// An error type that can carry a [`Rejected`]: anything that is `From<Rejected>`.
///
/// [`BoxError`], [`Error<E>`](Error) and every enum of your own with a `From<Rejected>` are. There is nothing to
/// implement here; the trait exists so that the compiler can say what is missing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot carry a rejection of this layer",
    label = "needs `From<tower_reliability::Rejected>`",
    note = "add `.map_err(Error::inner)` below this layer, or implement `From<Rejected>` for your error type"
)]
pub trait FromRejected: Sized {
    /// The rejection, as this error.
    fn from_rejected(rejected: Rejected) -> Self;
}

impl<E: From<Rejected>> FromRejected for E {
    fn from_rejected(rejected: Rejected) -> Self {
        rejected.into()
    }
}

/// An error type from which a [`Rejected`] can be taken out again.
///
/// Layers that answer rejections ask for it. [`Error<E>`](Error) and [`BoxError`] have it; implement it for an enum
/// of your own.
pub trait IntoRejected {
    /// What is left where it is no rejection.
    type Other;

    /// The rejection.
    ///
    /// # Errors
    ///
    /// Gives the error back where it is something else.
    fn into_rejected(self) -> Result<Rejected, Self::Other>;
}

impl<E> IntoRejected for Error<E> {
    type Other = E;

    fn into_rejected(self) -> Result<Rejected, E> {
        match self {
            Self::Rejected(rejected) => Ok(rejected),
            Self::Inner(error) => Err(error),
        }
    }
}

impl IntoRejected for BoxError {
    type Other = Self;

    fn into_rejected(self) -> Result<Rejected, Self> {
        match self.as_rejected() {
            Some(rejected) => Ok(rejected.clone()),
            None => Err(self),
        }
    }
}

/// An error type in which a [`Rejected`] can be seen.
///
/// Layers that tell a rejection made on this side from an error of the peer ask for it.
/// [`Error<E>`](Error) and [`BoxError`] have it; implement it for an enum of your own:
///
/// ```
/// use tower_reliability::{AsRejected, Rejected};
///
/// enum PriceError { NoSuchThing, TurnedAway(Rejected) }
///
/// impl AsRejected for PriceError {
///     fn as_rejected(&self) -> Option<&Rejected> {
///         if let Self::TurnedAway(rejected) = self { Some(rejected) } else { None }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a rejection cannot be seen in `{Self}`",
    label = "needs `tower_reliability::AsRejected`",
    note = "add `.map_err(Error::inner)` below this layer, or implement `AsRejected` for your error type"
)]
pub trait AsRejected {
    /// The rejection, if it is one.
    fn as_rejected(&self) -> Option<&Rejected>;
}

impl<E> AsRejected for Error<E> {
    fn as_rejected(&self) -> Option<&Rejected> {
        self.rejected()
    }
}

impl AsRejected for BoxError {
    fn as_rejected(&self) -> Option<&Rejected> {
        chain(self.as_ref()).find_map(|error| error.downcast_ref())
    }
}

/// A number that a config may not have, named by its field.
///
/// ```
/// use tower_reliability::circuit_breaker::CircuitBreakerConfig;
///
/// let error = CircuitBreakerConfig::new().failure_rate(1.5).build().unwrap_err();
/// assert_eq!(error.to_string(), "failure_rate must be above 0 and at most 1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    stage: Option<&'static str>,
    field: &'static str,
    rule: &'static str,
}

impl ConfigError {
    /// The rule that a field breaks.
    #[must_use]
    pub const fn new(field: &'static str, rule: &'static str) -> Self {
        Self { stage: None, field, rule }
    }

    /// The same error, in a stage of a stack.
    #[must_use]
    pub const fn within(mut self, stage: &'static str) -> Self {
        self.stage = Some(stage);
        self
    }

    /// The stage of the stack that the field belongs to; `None` for a single layer.
    #[must_use]
    pub const fn stage(&self) -> Option<&'static str> {
        self.stage
    }

    /// The field, spelt as its setter.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// What the field must be.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        self.rule
    }

    /// Nothing wrong, or this field breaks this rule.
    pub(crate) const fn check(holds: bool, field: &'static str, rule: &'static str) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self::new(field, rule)) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(stage) = self.stage {
            write!(f, "{stage}.")?;
        }
        write!(f, "{} {}", self.field, self.rule)
    }
}

impl error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{call::Reason, telemetry::Name};

    #[test]
    fn a_rejection_is_seen_wherever_it_can_be_taken_out() {
        let rejected = || Rejected::new(Name::new("x"), Reason::ProbesTaken);
        let flat: Error<io::Error> = rejected().into();
        assert_eq!(flat.as_rejected(), Some(&rejected()));
        let boxed: BoxError = Box::new(io::Error::other(Error::<io::Error>::Rejected(rejected())));
        assert_eq!(boxed.as_rejected(), Some(&rejected()));
        assert_eq!(boxed.into_rejected().ok(), Some(rejected()));
    }

    #[test]
    fn an_error_of_the_peer_is_no_rejection() {
        let error: BoxError = Box::new(Error::Inner(io::Error::other("down")));
        assert_eq!(error.as_rejected(), None);
    }
}
