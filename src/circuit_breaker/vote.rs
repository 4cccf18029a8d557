//! What an outcome means to a circuit.

use crate::call::{ErrorClass, Outcome};

/// The vote that a breaker takes from an outcome; the table is in the crate's design, "one classification".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vote {
    /// Healthy, and the end of a row of failures.
    Success,
    /// The peer answered as it should, to a call that was wrong: healthy, but no proof of recovery in a row.
    Answered,
    /// A failure in the window and in a row.
    Failure,
    /// A failure in the window only: a peer that asks for fewer calls is not dead.
    Refused,
    /// No vote.
    Ignored,
}

impl Vote {
    pub(super) const fn of(outcome: &Outcome) -> Self {
        match outcome {
            // Of one that is recorded now, nobody will see the end.
            Outcome::Success | Outcome::Deferred => Self::Success,
            Outcome::Ignored | Outcome::EndpointUnavailable => Self::Ignored,
            Outcome::Failure { class, .. } => match class {
                ErrorClass::Validation | ErrorClass::Authentication => Self::Answered,
                ErrorClass::RateLimit => Self::Refused,
                ErrorClass::Connection | ErrorClass::Timeout | ErrorClass::Server | ErrorClass::Unknown => {
                    Self::Failure
                }
            },
        }
    }

    /// Whether it is a failure in the window, and for a probe.
    pub(super) const fn is_bad(self) -> bool {
        matches!(self, Self::Failure | Self::Refused)
    }
}
