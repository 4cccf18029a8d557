//! The rejection of a call on this side: the layer, the reason, and the time of the next try.

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

/// The rejection of a call: the layer, the reason, and the time from which a new try makes sense.
///
/// Every layer needs `From<Rejected>` for its service's error type; see [`FromRejected`](crate::FromRejected). `Display`
/// prints one sentence, such as `payments: circuit open (60 of 100 calls failed), retry after 4.2s`. A rejection has no
/// source.
///
/// A rejection is one word, because the result of every call has room for it. Making or cloning one allocates once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Rejected(Box<Parts>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    layer: Name,
    reason: Reason,
    retry_at: Option<Instant>,
}

impl Rejected {
    /// A rejection by the layer of this name. Your own layers may use it too.
    pub fn new(layer: Name, reason: Reason) -> Self {
        Self(Box::new(Parts { layer, reason, retry_at: None }))
    }

    /// The same rejection, with the wait before the next try.
    pub fn after(self, delay: Duration) -> Self {
        self.at(Some(algo::after(clock::now(), delay)))
    }

    /// The same rejection, with the instant of the next try, if it is known.
    pub fn at(mut self, instant: Option<Instant>) -> Self {
        self.0.retry_at = instant;
        self
    }

    /// The name of the layer that rejected the call.
    #[must_use]
    pub fn layer(&self) -> &Name {
        &self.0.layer
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The wait from now until the next try.
    ///
    /// `None` if no time is known: an operator holds a circuit open, for example. This method reads the clock, so the
    /// wait shrinks as time passes.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_at.map(|at| at.saturating_duration_since(clock::now()))
    }

    /// The instant from which a new try makes sense.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        self.0.retry_at
    }

    /// The outcome of the rejected call, for the outer layers.
    ///
    /// | reason | outcome |
    /// |---|---|
    /// | [`Timeout`](Reason::Timeout) | a failure of class [`Timeout`](ErrorClass::Timeout): the backend has not answered |
    /// | [`CircuitOpen`](Reason::CircuitOpen), [`ProbesTaken`](Reason::ProbesTaken), [`Ramping`](Reason::Ramping) | [`EndpointUnavailable`](Outcome::EndpointUnavailable): another endpoint may take the call |
    /// | [`ConcurrencyLimited`](Reason::ConcurrencyLimited), [`QueueFull`](Reason::QueueFull), [`QueueTimeout`](Reason::QueueTimeout), [`Shed`](Reason::Shed) | the same |
    /// | [`RateLimited`](Reason::RateLimited), [`Draining`](Reason::Draining) | the same |
    /// | [`NoEndpoint`](Reason::NoEndpoint), [`NoHealthyEndpoint`](Reason::NoHealthyEndpoint) | the same |
    /// | [`Panicked`](Reason::Panicked) | a failure of class [`Server`](ErrorClass::Server) |
    /// | [`CostTooHigh`](Reason::CostTooHigh) | [`Ignored`](Outcome::Ignored): no endpoint behind this limit ever takes the call |
    /// | [`UploadStalled`](Reason::UploadStalled) | [`Ignored`](Outcome::Ignored): the caller stalled |
    /// | [`NoRuntime`](Reason::NoRuntime) | [`Ignored`](Outcome::Ignored): the program runs the call in the wrong place |
    /// | [`DeadlineExceeded`](Reason::DeadlineExceeded) | [`DeadlineExceeded`](Outcome::DeadlineExceeded) |
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self.0.reason {
            Reason::Timeout { .. } => Outcome::failure(ErrorClass::Timeout),
            Reason::CircuitOpen(_)
            | Reason::ProbesTaken
            | Reason::Ramping
            | Reason::ConcurrencyLimited { .. }
            | Reason::QueueFull
            | Reason::QueueTimeout { .. }
            | Reason::Shed
            | Reason::Draining
            | Reason::NoEndpoint
            | Reason::NoHealthyEndpoint
            | Reason::RateLimited => Outcome::EndpointUnavailable,
            Reason::Panicked => Outcome::failure(ErrorClass::Server),
            Reason::UploadStalled { .. } | Reason::CostTooHigh { .. } | Reason::NoRuntime => Outcome::Ignored,
            Reason::DeadlineExceeded => Outcome::DeadlineExceeded,
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.layer, self.0.reason)?;
        match self.retry_after() {
            Some(delay) => write!(f, ", retry after {:?}", whole_millis_up(delay)),
            None => Ok(()),
        }
    }
}

impl Error for Rejected {}

/// The reason of a rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The circuit is open, for this reason.
    CircuitOpen(Trip),
    /// The circuit is half-open, and all its probes are in flight.
    ProbesTaken,
    /// The circuit has just closed and admits a rising ratio of the calls, which left this call out.
    Ramping,
    /// The backend did not answer within the limit.
    Timeout {
        /// The limit.
        limit: Duration,
    },
    /// The body of the request made no progress for this long: the caller stalled its upload.
    UploadStalled {
        /// The limit.
        limit: Duration,
    },
    /// The caller's deadline passed before the limit of this layer did, or would pass before the call gets a permit.
    DeadlineExceeded,
    /// As many calls are in flight as the limit allows, and no call may wait.
    ConcurrencyLimited {
        /// The limit.
        limit: u32,
    },
    /// The queue in front of a limit is full of calls that are not less important.
    QueueFull,
    /// The call waited too long for a permit, or would have had to.
    QueueTimeout {
        /// The longest wait.
        max_wait: Duration,
    },
    /// Calls had been waiting too long for permits, so the limit sheds the least important of them.
    Shed,
    /// The service drains before it stops.
    Draining,
    /// The balancer has no endpoint.
    NoEndpoint,
    /// No endpoint of the balancer is healthy, and it does not use unhealthy ones.
    NoHealthyEndpoint,
    /// The inner service panicked.
    Panicked,
    /// The call would have to wait, and no tokio runtime runs it. So no timer would end the wait.
    NoRuntime,
    /// Too many calls have passed lately, and the call may not wait, or would wait too long.
    RateLimited,
    /// The call costs more than a rate limit ever lets pass at once.
    CostTooHigh {
        /// The cost of the call.
        cost: u32,
        /// The highest cost that can pass.
        most: u32,
    },
}

impl Reason {
    /// The name of the reason without its numbers, such as `circuit_open`. For metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::CircuitOpen(_) => "circuit_open",
            Self::ProbesTaken => "probes_taken",
            Self::Ramping => "ramping",
            Self::Timeout { .. } => "timeout",
            Self::UploadStalled { .. } => "upload_stalled",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::ConcurrencyLimited { .. } => "concurrency_limited",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout { .. } => "queue_timeout",
            Self::Shed => "shed",
            Self::Draining => "draining",
            Self::NoEndpoint => "no_endpoint",
            Self::NoHealthyEndpoint => "no_healthy_endpoint",
            Self::Panicked => "panicked",
            Self::NoRuntime => "no_runtime",
            Self::RateLimited => "rate_limited",
            Self::CostTooHigh { .. } => "cost_too_high",
        }
    }
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
            Self::ConcurrencyLimited { limit } => write!(f, "limit of {limit} in flight reached"),
            Self::QueueFull => f.write_str("the wait queue is full"),
            Self::QueueTimeout { max_wait } => write!(f, "no permit within {max_wait:?}"),
            Self::Shed => f.write_str("shed, calls wait too long"),
            Self::Draining => f.write_str("draining before the stop"),
            Self::NoEndpoint => f.write_str("there is no endpoint"),
            Self::NoHealthyEndpoint => f.write_str("no endpoint is healthy"),
            Self::Panicked => f.write_str("the inner service panicked"),
            Self::NoRuntime => f.write_str("the call would have to wait outside of a tokio runtime"),
            Self::RateLimited => f.write_str("rate limit reached"),
            Self::CostTooHigh { cost, most } => {
                write!(f, "a call of cost {cost} never passes, the highest cost is {most}")
            }
        }
    }
}

/// Rounds up to milliseconds: a log needs no nanoseconds, and a caller must not come back too early.
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
    fn only_a_timeout_and_a_panic_count_against_the_backend() {
        let outcome = |reason| Rejected::new(Name::new("x"), reason).outcome();
        assert_eq!(outcome(Reason::Timeout { limit: Duration::ZERO }), Outcome::failure(ErrorClass::Timeout));
        assert_eq!(outcome(Reason::DeadlineExceeded), Outcome::DeadlineExceeded);
        assert_eq!(outcome(Reason::UploadStalled { limit: Duration::ZERO }), Outcome::Ignored);
        assert_eq!(outcome(Reason::CircuitOpen(Trip::ByHand)), Outcome::EndpointUnavailable);
        assert_eq!(outcome(Reason::QueueFull), Outcome::EndpointUnavailable);
        assert_eq!(outcome(Reason::Draining), Outcome::EndpointUnavailable);
        assert_eq!(outcome(Reason::NoEndpoint), Outcome::EndpointUnavailable);
        assert_eq!(outcome(Reason::NoHealthyEndpoint), Outcome::EndpointUnavailable);
        assert_eq!(outcome(Reason::Panicked), Outcome::failure(ErrorClass::Server));
        assert_eq!(outcome(Reason::RateLimited), Outcome::EndpointUnavailable);
        assert_eq!(outcome(Reason::CostTooHigh { cost: 2, most: 1 }), Outcome::Ignored);
        assert_eq!(outcome(Reason::NoRuntime), Outcome::Ignored);
    }
}
