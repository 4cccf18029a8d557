//! How an admitted call ended, and the vote that the circuit takes from it.

use std::time::Instant;

use super::answers::Answers;
use crate::{
    algo::{AT_THE_DEADLINE, after},
    call::{ErrorClass, Outcome},
    circuit_breaker::{
        config::{Abandoned, CircuitBreakerConfig},
        snapshot::CircuitBreakerCounts,
    },
};

/// How an admitted call ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// The call returned a result.
    Done { outcome: Outcome, slow: bool, timing: Timing },
    /// The inner service or the classifier panicked.
    Panicked,
    /// The future was dropped after its first poll.
    Dropped(Timing),
    /// The future was dropped before its first poll, so the backend had no part in it.
    Unpolled,
    /// A reserved place was given back without a call.
    Withdrawn,
}

/// The time that the backend had for a call, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timing {
    /// From when the call waited for the backend. `None` if it waited for the caller to send the rest of the request, or
    /// if no time is known because it never waited.
    pub(crate) waiting_since: Option<Instant>,
    /// The deadline of the request.
    pub(crate) deadline: Option<Instant>,
}

impl Ending {
    /// Whether the call ended before the backend answered, by its caller or by the caller's deadline.
    pub(super) fn is_cut(self, now: Instant) -> bool {
        match self {
            Self::Dropped(_) => true,
            Self::Done { outcome, timing, .. } => timing.is_cut(outcome, now),
            Self::Panicked | Self::Unpolled | Self::Withdrawn => false,
        }
    }

    /// Counts the call. Returns its vote, and whether it was slow.
    pub(super) fn vote(
        self,
        config: &CircuitBreakerConfig,
        answers: &mut Answers,
        counts: &mut CircuitBreakerCounts,
        now: Instant,
    ) -> (Vote, bool) {
        let timing = match self {
            Self::Dropped(timing) => timing,
            Self::Done { timing, .. } if self.is_cut(now) => timing,
            Self::Done { outcome, slow, .. } => {
                answers.count(is_answer(&outcome).into(), now);
                let vote = Vote::of(&outcome);
                *vote.counter(counts) += 1;
                return (vote, slow);
            }
            Self::Panicked => {
                counts.failures += 1;
                return (Vote::Failure, false);
            }
            Self::Unpolled => {
                counts.ignored += 1;
                return (Vote::Ignored, false);
            }
            Self::Withdrawn => return (Vote::Ignored, false),
        };
        counts.abandoned += 1;
        let waited = timing.waiting_since.map(|since| now.saturating_duration_since(since));
        let slow = config.slow_over().zip(waited).is_some_and(|(over, waited)| waited > over);
        let vote = match config.abandoned {
            Abandoned::Failure => Vote::Failure,
            Abandoned::ByTime if answers.is_failure(timing, now) => Vote::Failure,
            // The backend was slow, however impatient the caller was.
            Abandoned::ByTime if slow => Vote::Answered,
            Abandoned::ByTime | Abandoned::Ignore => Vote::Ignored,
        };
        (vote, slow)
    }
}

impl Timing {
    /// Whether the caller's deadline ended the call. A backend that knows the deadline too reports a timeout at that
    /// moment.
    fn is_cut(self, outcome: Outcome, now: Instant) -> bool {
        match outcome {
            Outcome::DeadlineExceeded => true,
            Outcome::Failure { class: ErrorClass::Timeout, .. } => {
                self.deadline.is_some_and(|deadline| after(now, AT_THE_DEADLINE) >= deadline)
            }
            _ => false,
        }
    }
}

/// The vote of one call; see the table on the page of [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vote {
    /// Healthy, and the end of a sequence of failures.
    Success,
    /// The backend answered a request that was wrong: healthy, but the sequence of failures goes on.
    Answered,
    /// A failure in the window and in the sequence.
    Failure,
    /// A failure in the window only: a backend that asks for fewer calls is not dead.
    RateLimited,
    /// No vote.
    Ignored,
}

impl Vote {
    pub(super) const fn of(outcome: &Outcome) -> Self {
        match outcome {
            // A deferred outcome that is recorded now is not settled later.
            Outcome::Success | Outcome::Deferred => Self::Success,
            Outcome::Ignored | Outcome::DeadlineExceeded | Outcome::EndpointUnavailable => Self::Ignored,
            Outcome::Failure { class, .. } => match class {
                ErrorClass::Validation | ErrorClass::Authentication => Self::Answered,
                ErrorClass::RateLimit => Self::RateLimited,
                ErrorClass::Connection | ErrorClass::Timeout | ErrorClass::Server | ErrorClass::Unknown => {
                    Self::Failure
                }
            },
        }
    }

    /// Whether it is a failure in the window, and for a probe.
    pub(super) const fn is_failure(self) -> bool {
        matches!(self, Self::Failure | Self::RateLimited)
    }

    /// The counter of calls with this vote.
    pub(super) fn counter(self, counts: &mut CircuitBreakerCounts) -> &mut u64 {
        match self {
            Self::Success | Self::Answered => &mut counts.successes,
            Self::Failure | Self::RateLimited => &mut counts.failures,
            Self::Ignored => &mut counts.ignored,
        }
    }
}

/// Whether a response of the backend led to this outcome.
pub(super) const fn is_answer(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Success | Outcome::Deferred => true,
        Outcome::Failure { class, .. } => {
            !matches!(class, ErrorClass::Connection | ErrorClass::Timeout | ErrorClass::Unknown)
        }
        _ => false,
    }
}
