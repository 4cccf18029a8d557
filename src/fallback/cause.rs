//! Why a call is answered otherwise.

use crate::call::{ErrorClass, ErrorClasses, Outcome, PriorAttempts, Reason, Rejected};

/// Why a call was answered by a fallback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was turned away on this side.
    Rejected(Reason),
    /// It failed, by an error or by a response.
    Failed(ErrorClass),
}

/// A call that was turned away or failed, as a [`Source`](super::Source) of other answers gets to see it.
#[derive(Debug)]
pub struct Failed<'a, Res, Err> {
    pub(super) result: Result<&'a Res, &'a Err>,
    pub(super) rejected: Option<&'a Rejected>,
    pub(super) outcome: Outcome,
    pub(super) cause: Cause,
}

impl<'a, Res, Err> Failed<'a, Res, Err> {
    /// The rejection, if it was one.
    #[must_use]
    pub const fn rejected(&self) -> Option<&'a Rejected> {
        self.rejected
    }

    /// What the service below returned: an error, or a response that is a failure.
    ///
    /// # Errors
    ///
    /// The error, which may be a rejection.
    pub const fn result(&self) -> Result<&'a Res, &'a Err> {
        self.result
    }

    /// What the classifier made of it.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Why a fallback is asked.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        self.cause
    }

    /// Whether it is certain that no peer has seen the request.
    #[must_use]
    pub const fn is_unprocessed(&self) -> bool {
        self.outcome.is_unprocessed()
    }
}

impl<Res, Err> Failed<'_, Res, Err> {
    /// The state of the first attempt, for a copy of its request.
    ///
    /// A response may still depend on the upload of its request: a backend that answers early reads on. The caller may
    /// get that response, so the attempt counts as running until then.
    pub(super) const fn prior_attempts(&self) -> PriorAttempts {
        match self.result {
            Ok(_) => PriorAttempts::Running,
            Err(_) if self.outcome.is_unprocessed() => PriorAttempts::Unprocessed,
            Err(_) => PriorAttempts::Ended,
        }
    }
}

/// Why a call that ended like this is answered otherwise; `None` where it is not.
pub(super) fn cause_of(on: ErrorClasses, rejected: Option<&Rejected>, outcome: Outcome) -> Option<Cause> {
    match (rejected, outcome.class()) {
        // First, because a timeout of ours has a class too, and is a rejection whatever the classes are.
        (Some(rejected), _) => Some(Cause::Rejected(rejected.reason())),
        (None, Some(class)) => on.contains(class).then_some(Cause::Failed(class)),
        (None, None) => None,
    }
}

impl<Res, Err> Clone for Failed<'_, Res, Err> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Res, Err> Copy for Failed<'_, Res, Err> {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::Name;

    const TIMEOUT: Reason = Reason::Timeout { limit: Duration::from_secs(1) };

    #[test]
    fn a_rejection_is_a_cause_whatever_the_classes_and_its_outcome() {
        for reason in [TIMEOUT, Reason::ProbesTaken, Reason::DeadlineExceeded] {
            let rejected = Rejected::new(Name::new("x"), reason);
            for classes in [ErrorClasses::NONE, ErrorClasses::ALL] {
                let cause = cause_of(classes, Some(&rejected), rejected.outcome());
                assert_eq!(cause, Some(Cause::Rejected(reason)));
            }
        }
    }

    #[test]
    fn a_failure_is_a_cause_if_its_class_was_named() {
        for class in ErrorClass::ALL {
            let failure = Outcome::failure(class);
            assert_eq!(cause_of(ErrorClasses::NONE.with(class), None, failure), Some(Cause::Failed(class)));
            assert_eq!(cause_of(ErrorClasses::NONE, None, failure), None);
        }
    }

    #[test]
    fn what_is_no_failure_is_no_cause() {
        for outcome in [Outcome::Success, Outcome::Deferred, Outcome::Ignored, Outcome::EndpointUnavailable] {
            assert_eq!(cause_of(ErrorClasses::ALL, None, outcome), None);
        }
    }
}
