//! What a circuit looks like at a glance.

use std::time::Duration;

use super::{config::Abandoned, permit::Ending, vote::Vote};
use crate::telemetry::{CircuitState, Trip};

/// The state and the counts of one circuit, taken at one instant.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CircuitBreakerSnapshot {
    /// What it does with calls.
    pub state: CircuitState,
    /// The number of that state; it grows by one with every transition.
    pub generation: u32,
    /// Why it opened last, if it ever did.
    pub last_trip: Option<Trip>,
    /// How long until an open circuit lets a probe through.
    pub retry_after: Option<Duration>,
    /// The calls that the window holds. Empty while nothing is counted.
    pub window_calls: u32,
    /// How many of them failed.
    pub window_failures: u32,
    /// How many of them were slow.
    pub window_slow: u32,
    /// The share of failures in the window; `None` below `min_requests`.
    pub failure_rate: Option<f64>,
    /// The share of slow calls in the window; `None` below `min_requests`.
    pub slow_call_rate: Option<f64>,
    /// The failures in a row.
    pub consecutive_failures: u32,
    /// How the calls ended, since the breaker was built.
    pub counts: CircuitBreakerCounts,
}

/// How calls ended. Every call that was started and is over is in exactly one of `successes`, `failures`,
/// `ignored`, `abandoned` and `rejected`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitBreakerCounts {
    /// The peer answered, be it that the call was wrong.
    pub successes: u64,
    /// The call failed, or panicked.
    pub failures: u64,
    /// The outcome said nothing about the peer, or the call was never polled.
    pub ignored: u64,
    /// The future was dropped before it was done, or before its end a response that is [`Deferred`](crate::Outcome::Deferred).
    pub abandoned: u64,
    /// Turned away.
    pub rejected: u64,
    /// Of those above, the ones that came back after the circuit had moved on, and had no vote.
    pub late: u64,
    /// How often the circuit opened.
    pub trips: u64,
    /// How often it would have opened, in shadow mode.
    pub would_trips: u64,
}

impl CircuitBreakerCounts {
    /// Counts how a call ended; gives its vote, and whether it was slow.
    pub(super) fn add(&mut self, ending: Ending, abandoned: Abandoned) -> (Vote, bool) {
        let (counter, vote, slow) = match ending {
            Ending::Done { outcome, slow } => {
                let vote = Vote::of(&outcome);
                let counter = match vote {
                    Vote::Success | Vote::Answered => &mut self.successes,
                    Vote::Failure | Vote::Refused => &mut self.failures,
                    Vote::Ignored => &mut self.ignored,
                };
                (counter, vote, slow)
            }
            Ending::Panicked => (&mut self.failures, Vote::Failure, false),
            Ending::Unused => (&mut self.ignored, Vote::Ignored, false),
            Ending::Withdrawn => return (Vote::Ignored, false),
            Ending::Abandoned => match abandoned {
                Abandoned::Failure => (&mut self.abandoned, Vote::Failure, false),
                Abandoned::Ignore => (&mut self.abandoned, Vote::Ignored, false),
            },
        };
        *counter += 1;
        (vote, slow)
    }
}
