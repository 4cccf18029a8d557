//! The decisions of one call: whether the fallback answers it, and whether another service may get its request.

use crate::call::{ErrorClass, ErrorClasses, Outcome, PriorAttempts};

/// Why the fallback answers a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A layer on this side rejected it.
    Rejected,
    /// It failed, by an error or by a response.
    Failed(ErrorClass),
}

impl Cause {
    /// The class of the failure; `None` for a rejection.
    pub(super) const fn class(self) -> Option<ErrorClass> {
        match self {
            Self::Rejected => None,
            Self::Failed(class) => Some(class),
        }
    }
}

/// Why the fallback answers a call with this result; `None` if the result passes.
pub(super) fn cause_of(on: ErrorClasses, is_rejected: bool, outcome: Outcome) -> Option<Cause> {
    // Rejections come first: a timeout on this side has a class too, and is a rejection whatever the classes are.
    if is_rejected {
        return Some(Cause::Rejected);
    }
    outcome.class().filter(|class| on.contains(*class)).map(Cause::Failed)
}

/// The state of the first attempt, for a copy of its request.
///
/// A response may depend on the upload of its request: a backend that answers early reads on. The caller may still get
/// that response, so its attempt counts as running. Otherwise taking the upload over would break the response.
pub(super) const fn prior_attempts(has_response: bool, outcome: Outcome) -> PriorAttempts {
    match (has_response, outcome.is_unprocessed()) {
        (true, _) => PriorAttempts::Running,
        (false, true) => PriorAttempts::Unprocessed,
        (false, false) => PriorAttempts::Ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS: [Outcome; 4] =
        [Outcome::Success, Outcome::Deferred, Outcome::Ignored, Outcome::EndpointUnavailable];

    #[test]
    fn a_rejection_is_answered_whatever_the_classes_and_its_outcome() {
        for outcome in OTHERS.into_iter().chain([Outcome::failure(ErrorClass::Timeout)]) {
            for classes in [ErrorClasses::NONE, ErrorClasses::ALL] {
                assert_eq!(cause_of(classes, true, outcome), Some(Cause::Rejected));
            }
        }
    }

    #[test]
    fn a_failure_is_answered_if_its_class_is_named() {
        for class in ErrorClass::ALL {
            let failure = Outcome::failure(class);
            let cause = cause_of(ErrorClasses::NONE.with(class), false, failure);
            assert_eq!(cause, Some(Cause::Failed(class)));
            assert_eq!(cause_of(ErrorClasses::ALL.without(class), false, failure), None);
        }
    }

    #[test]
    fn every_other_outcome_passes() {
        for outcome in OTHERS {
            assert_eq!(cause_of(ErrorClasses::ALL, false, outcome), None);
        }
    }

    #[test]
    fn case_72_an_attempt_with_a_response_counts_as_running() {
        let (failed, unprocessed) =
            (Outcome::failure(ErrorClass::Server), Outcome::failure(ErrorClass::Server).unprocessed());
        assert_eq!(prior_attempts(true, failed), PriorAttempts::Running);
        assert_eq!(prior_attempts(true, unprocessed), PriorAttempts::Running);
        assert_eq!(prior_attempts(false, failed), PriorAttempts::Ended);
        assert_eq!(prior_attempts(false, unprocessed), PriorAttempts::Unprocessed);
        assert_eq!(prior_attempts(false, Outcome::EndpointUnavailable), PriorAttempts::Unprocessed);
    }
}
