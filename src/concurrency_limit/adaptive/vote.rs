//! The vote that the learner takes from a measured call.

use std::time::Instant;

use crate::call::{ErrorClass, Outcome};

/// A measured call that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::concurrency_limit) struct Ended {
    /// When the backend could begin.
    pub(in crate::concurrency_limit) began: Instant,
    /// The calls in flight when the call got its permit, itself included.
    pub(in crate::concurrency_limit) in_flight: u32,
    pub(in crate::concurrency_limit) vote: Option<Vote>,
}

/// The vote of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::concurrency_limit) enum Vote {
    /// The backend did the work in the time of the call.
    Answered,
    /// The work would have taken the time of the call, or longer.
    AtLeast,
    /// The backend says that it has too many calls, or did not answer in time.
    Congested,
}

impl Vote {
    /// The vote of a call with this outcome. `is_error`: whether the result was an error. `is_due`: whether the deadline
    /// of the caller has come.
    pub(in crate::concurrency_limit) const fn of(
        outcome: Outcome,
        is_error: bool,
        is_due: bool,
    ) -> Option<Self> {
        match outcome {
            // The classifier does not look at errors, and a failure may be faster than any work.
            Outcome::Success | Outcome::Deferred if is_error => None,
            Outcome::Success | Outcome::Deferred => Some(Self::Answered),
            // The caller had no more time. Its haste says nothing, but the time that the backend had does.
            Outcome::DeadlineExceeded => Some(Self::AtLeast),
            Outcome::Ignored | Outcome::EndpointUnavailable => None,
            Outcome::Failure { class, .. } => match class {
                // A wrong request is often refused before the work. Without this, a caller with wrong requests would
                // lower the baseline, and with it the limit of all callers.
                ErrorClass::Validation => Some(Self::AtLeast),
                // A backend that knows the deadline of the caller reports a timeout at that moment.
                ErrorClass::Timeout if is_due => Some(Self::AtLeast),
                ErrorClass::RateLimit | ErrorClass::Timeout => Some(Self::Congested),
                ErrorClass::Authentication
                | ErrorClass::Connection
                | ErrorClass::Server
                | ErrorClass::Unknown => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_vote() {
        use ErrorClass::{Authentication, Connection, RateLimit, Server, Timeout, Unknown, Validation};
        for (outcome, vote) in [
            (Outcome::Success, Some(Vote::Answered)),
            (Outcome::Deferred, Some(Vote::Answered)),
            (Outcome::DeadlineExceeded, Some(Vote::AtLeast)),
            (Outcome::Ignored, None),
            (Outcome::EndpointUnavailable, None),
            (Outcome::failure(Validation), Some(Vote::AtLeast)),
            (Outcome::failure(RateLimit), Some(Vote::Congested)),
            (Outcome::failure(Timeout), Some(Vote::Congested)),
            (Outcome::failure(Authentication), None),
            (Outcome::failure(Connection), None),
            (Outcome::failure(Server), None),
            (Outcome::failure(Unknown), None),
        ] {
            assert_eq!(Vote::of(outcome, false, false), vote, "{outcome:?}");
            let of_error = vote.filter(|vote| *vote != Vote::Answered);
            assert_eq!(Vote::of(outcome, true, false), of_error, "an error: {outcome:?}");
            let hurried = if outcome.class() == Some(Timeout) { Some(Vote::AtLeast) } else { vote };
            assert_eq!(Vote::of(outcome, false, true), hurried, "at the deadline: {outcome:?}");
        }
    }
}
