//! A call that was turned away on this side: by whom, why, and when to come back.

use std::{
    error::Error,
    fmt,
    time::{Duration, Instant},
};

use crate::{
    algo,
    call::{ErrorClass, Outcome},
    rt::clock,
    telemetry::{Name, Trip},
};

/// Says which layer turned a call away, why, and when it is worth trying again.
///
/// Every layer asks its service's error type for `From<Rejected>`; see [`FromRejected`](crate::FromRejected).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Rejected {
    layer: Name,
    reason: Reason,
    retry_at: Option<Instant>,
}

impl Rejected {
    /// A rejection by the layer of that name. Layers of your own may use it too.
    pub const fn new(layer: Name, reason: Reason) -> Self {
        Self { layer, reason, retry_at: None }
    }

    /// The same rejection, saying in how long to come back.
    pub fn after(self, delay: Duration) -> Self {
        self.at(Some(algo::after(clock::now(), delay)))
    }

    /// The same rejection, saying when to come back, if that can be said.
    pub const fn at(mut self, instant: Option<Instant>) -> Self {
        self.retry_at = instant;
        self
    }

    /// The name of the layer that turned the call away.
    #[must_use]
    pub const fn layer(&self) -> &Name {
        &self.layer
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// How long to wait, from now, before the next try.
    ///
    /// `None` where no time can be given, as when a circuit is held open by hand. The clock is read when this is
    /// asked, not when the call is turned away.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_at.map(|at| at.saturating_duration_since(clock::now()))
    }

    /// The instant from which it is worth trying again.
    #[must_use]
    pub const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// What the layers around the one that rejected make of it.
    ///
    /// A rejection made on this side is no verdict on the peer and is [ignored](Outcome::Ignored), with one
    /// exception: a timeout says that the peer did not answer. A deadline that was already too short does not.
    /// A circuit that is open says nothing about the endpoints beside it: [`EndpointUnavailable`](Outcome::EndpointUnavailable).
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self.reason {
            Reason::Timeout { .. } => Outcome::failure(ErrorClass::Timeout),
            Reason::CircuitOpen(_) | Reason::ProbesTaken | Reason::Ramping => Outcome::EndpointUnavailable,
            Reason::UploadStalled { .. } | Reason::DeadlineExceeded => Outcome::Ignored,
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.layer, self.reason)?;
        match self.retry_after() {
            Some(delay) => write!(f, ", retry after {:?}", whole_millis_up(delay)),
            None => Ok(()),
        }
    }
}

impl Error for Rejected {}

/// Why a call was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The circuit is open, for the reason given.
    CircuitOpen(Trip),
    /// The circuit is half-open and all its probes are out.
    ProbesTaken,
    /// The circuit has just closed and admits a rising share of the calls; this one was not among them.
    Ramping,
    /// The peer did not answer within the limit.
    Timeout {
        /// The limit.
        limit: Duration,
    },
    /// The request's body made no progress for the limit: the caller has stalled its upload.
    UploadStalled {
        /// The limit.
        limit: Duration,
    },
    /// The time that the caller had was over, or was shorter than the limit of this layer.
    DeadlineExceeded,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CircuitOpen(trip) => write!(f, "circuit open ({trip})"),
            Self::ProbesTaken => f.write_str("circuit half-open, all probes are out"),
            Self::Ramping => f.write_str("circuit closing, not all calls are admitted yet"),
            Self::Timeout { limit } => write!(f, "no answer within {limit:?}"),
            Self::UploadStalled { limit } => write!(f, "the request body made no progress for {limit:?}"),
            Self::DeadlineExceeded => f.write_str("deadline exceeded"),
        }
    }
}

/// Nobody reads the nanoseconds of a wait.
fn whole_millis_up(delay: Duration) -> Duration {
    Duration::from_millis(u64::try_from(delay.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_reads_as_a_sentence() {
        let open = Reason::CircuitOpen(Trip::FailureRate { failed: 60, total: 100 });
        let rejected = Rejected::new(Name::new("payments"), open).after(Duration::from_nanos(4_199_000_001));
        assert_eq!(rejected.to_string(), "payments: circuit open (60 of 100 calls failed), retry after 4.2s");
    }

    #[test]
    fn only_a_timeout_is_a_verdict_on_the_peer() {
        let outcome = |reason| Rejected::new(Name::new("x"), reason).outcome();
        assert_eq!(outcome(Reason::Timeout { limit: Duration::ZERO }), Outcome::failure(ErrorClass::Timeout));
        assert_eq!(outcome(Reason::DeadlineExceeded), Outcome::Ignored);
        assert_eq!(outcome(Reason::UploadStalled { limit: Duration::ZERO }), Outcome::Ignored);
        assert_eq!(outcome(Reason::CircuitOpen(Trip::ByHand)), Outcome::EndpointUnavailable);
    }
}
