//! The kinds of events, with their data.

use std::{fmt, time::Duration};

use super::{CircuitState, CircuitTransition, EjectionCause, HealthStatus, HealthTransition, Severity, Trip};
use crate::call::{ErrorClass, Priority, Reason};

/// The kind of an [`Event`](super::Event), with its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A circuit changed its state. Each transition emits exactly one such event.
    CircuitChanged(CircuitTransition),
    /// A circuit in shadow mode would have opened.
    CircuitWouldTrip(Trip),
    /// A keyed layer is full, and it can evict no key. Until it can, calls with a new key have no state of their own:
    /// they pass a breaker unprotected, share one retry budget or one concurrency limit, and share a few rate limits.
    KeysExhausted {
        /// The maximum number of keys.
        max_keys: usize,
    },
    /// A retry layer sent a request again.
    #[non_exhaustive]
    Retried {
        /// The number of the attempt that was sent, from 2.
        attempt: u32,
        /// The class of the failure before it. `None` if no backend got the former attempt.
        class: Option<ErrorClass>,
        /// The delay before it. It does not include the wait for the service to become ready.
        delay: Duration,
    },
    /// A hedge layer sent another request beside a slow one, or in place of a failed one.
    #[non_exhaustive]
    Hedged {
        /// The number of the attempt that was sent, from 2.
        attempt: u32,
        /// The class of the failure that triggered it. `None` if the call was slow, or if no backend got the former
        /// attempt.
        class: Option<ErrorClass>,
        /// The time without an answer that triggered it, since the attempt before. `None` if an attempt had failed.
        delay: Option<Duration>,
    },
    /// A timeout ended a call.
    #[non_exhaustive]
    TimedOut {
        /// The reason of the rejection: the limit, the deadline of the caller, or a stalled upload.
        reason: Reason,
    },
    /// A limit rejected a call, at once or after the call had waited.
    #[non_exhaustive]
    Rejected {
        /// The reason of the rejection.
        reason: Reason,
        /// The priority of the call.
        priority: Priority,
        /// The time that the call waited in the queue of the limit. Zero if the limit rejected the call at once.
        waited: Duration,
    },
    /// The queue of a limit began to shed calls that wait too long, sheds calls of other priorities, or stopped.
    #[non_exhaustive]
    SheddingChanged {
        /// The highest priority of calls that the queue sheds. `None` if it sheds no call.
        up_to: Option<Priority>,
    },
    /// An adaptive rate limit lowered its rate, or is back at the rate before the last decrease.
    #[non_exhaustive]
    RateChanged {
        /// The time per token before.
        from: Duration,
        /// The time per token now. It is longer if the rate was lowered.
        to: Duration,
    },
    /// A concurrency limit that learns has changed by a quarter or more since the last such event.
    #[non_exhaustive]
    LimitChanged {
        /// The limit of the last such event, or the first limit.
        from: u32,
        /// The limit from now on.
        to: u32,
    },
    /// A fallback answered a call.
    #[non_exhaustive]
    FellBack {
        /// The class of the failure. `None` if a layer on this side had rejected the call.
        class: Option<ErrorClass>,
    },
    /// A drain began. From now on a readiness endpoint answers that the service drains.
    #[non_exhaustive]
    DrainBegan {
        /// The calls in flight.
        in_flight: u64,
    },
    /// A drain ended: no call is in flight, or the limit was reached.
    #[non_exhaustive]
    DrainEnded {
        /// The calls that finished during the drain.
        finished: u64,
        /// The calls that were still in flight.
        left: u64,
    },
    /// The source of a leased limit does not answer. Each instance goes on with its share.
    QuotaSourceLost,
    /// The source of a leased limit answers again.
    #[non_exhaustive]
    QuotaSourceRecovered {
        /// The time without an answer.
        lost_for: Duration,
    },
    /// The health checks of an endpoint changed its status. Each transition emits exactly one such event.
    HealthChanged(HealthTransition),
    /// A lookup changed the set of endpoints of a discovery.
    #[non_exhaustive]
    EndpointsChanged {
        /// The endpoints that are new.
        added: usize,
        /// The endpoints that are gone.
        removed: usize,
        /// The endpoints from now on.
        endpoints: usize,
    },
    /// A lookup of a discovery failed. The endpoints stay.
    #[non_exhaustive]
    LookupFailed {
        /// The failed lookups in a row.
        consecutive: u32,
        /// The endpoints that stay.
        endpoints: usize,
    },
    /// A balancer ejected an endpoint, which gets no calls for a time.
    #[non_exhaustive]
    EndpointEjected {
        /// The rule that the endpoint broke.
        cause: EjectionCause,
        /// The time without calls.
        time: Duration,
    },
    /// The ejection of an endpoint is over. It gets calls again, and more of them with time.
    EndpointReturned,
    /// Active checks found that an endpoint is down, or that it is up again.
    #[non_exhaustive]
    EndpointChecked {
        /// Whether it is down.
        is_down: bool,
    },
    /// Too few endpoints of a balancer are healthy, so that all of them get calls; or enough are healthy again.
    #[non_exhaustive]
    BalancePanicChanged {
        /// Whether all endpoints get calls.
        is_panic: bool,
    },
    /// A panic guard caught a panic of the inner service.
    Panicked,
    /// A handle replaced the numbers of a running layer.
    Reconfigured,
}

impl EventKind {
    /// The kind in lower case, for metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::CircuitChanged(_) => "circuit_changed",
            Self::CircuitWouldTrip(_) => "circuit_would_trip",
            Self::KeysExhausted { .. } => "keys_exhausted",
            Self::Retried { .. } => "retried",
            Self::Hedged { .. } => "hedged",
            Self::TimedOut { .. } => "timed_out",
            Self::Rejected { .. } => "rejected",
            Self::SheddingChanged { .. } => "shedding_changed",
            Self::RateChanged { .. } => "rate_changed",
            Self::LimitChanged { .. } => "limit_changed",
            Self::FellBack { .. } => "fell_back",
            Self::DrainBegan { .. } => "drain_began",
            Self::DrainEnded { .. } => "drain_ended",
            Self::QuotaSourceLost => "quota_source_lost",
            Self::QuotaSourceRecovered { .. } => "quota_source_recovered",
            Self::HealthChanged(_) => "health_changed",
            Self::EndpointsChanged { .. } => "endpoints_changed",
            Self::LookupFailed { .. } => "lookup_failed",
            Self::EndpointEjected { .. } => "endpoint_ejected",
            Self::EndpointReturned => "endpoint_returned",
            Self::EndpointChecked { .. } => "endpoint_checked",
            Self::BalancePanicChanged { .. } => "balance_panic_changed",
            Self::Panicked => "panicked",
            Self::Reconfigured => "reconfigured",
        }
    }

    pub(super) const fn severity(&self) -> Severity {
        match self {
            Self::CircuitChanged(CircuitTransition { to, .. }) => match to {
                CircuitState::Open => Severity::Error,
                CircuitState::ForcedOpen => Severity::Warning,
                _ => Severity::Info,
            },
            Self::CircuitWouldTrip(_)
            | Self::KeysExhausted { .. }
            | Self::LookupFailed { .. }
            | Self::SheddingChanged { up_to: Some(_) }
            | Self::QuotaSourceLost
            | Self::EndpointEjected { .. }
            | Self::EndpointChecked { is_down: true }
            | Self::DrainEnded { left: 1.., .. }
            | Self::HealthChanged(HealthTransition { to: HealthStatus::Unhealthy, .. }) => Severity::Warning,
            Self::Retried { .. }
            | Self::Hedged { .. }
            | Self::TimedOut { .. }
            | Self::Rejected { .. }
            | Self::FellBack { .. } => Severity::Debug,
            Self::RateChanged { from, to } if to.as_nanos() > from.as_nanos() => Severity::Warning,
            Self::Panicked | Self::BalancePanicChanged { is_panic: true } => Severity::Error,
            Self::SheddingChanged { up_to: None }
            | Self::RateChanged { .. }
            | Self::LimitChanged { .. }
            | Self::BalancePanicChanged { is_panic: false }
            | Self::EndpointReturned
            | Self::EndpointChecked { is_down: false }
            | Self::DrainBegan { .. }
            | Self::DrainEnded { .. }
            | Self::QuotaSourceRecovered { .. }
            | Self::EndpointsChanged { .. }
            | Self::HealthChanged(_)
            | Self::Reconfigured => Severity::Info,
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::CircuitChanged(CircuitTransition { from, to, trip: Some(trip), .. }) => {
                write!(f, "circuit {from} -> {to} ({trip})")
            }
            Self::CircuitChanged(CircuitTransition { from, to, .. }) => write!(f, "circuit {from} -> {to}"),
            Self::CircuitWouldTrip(trip) => write!(f, "circuit would have opened ({trip})"),
            Self::KeysExhausted { max_keys } => {
                write!(
                    f,
                    "none of the {max_keys} keys can be evicted, calls with new keys have no state of their own"
                )
            }
            Self::Retried { attempt, class, delay } => {
                write!(f, "attempt {attempt} sent after {delay:?} ({})", name_of(class, "no backend reached"))
            }
            Self::Hedged { attempt, delay: Some(delay), .. } => {
                write!(f, "hedge sent as attempt {attempt} (no answer for {delay:?})")
            }
            Self::Hedged { attempt, class, delay: None } => {
                write!(f, "hedge sent as attempt {attempt} ({})", name_of(class, "no backend reached"))
            }
            Self::TimedOut { reason } => write!(f, "{reason}"),
            Self::Rejected { reason, priority, waited: Duration::ZERO } => {
                write!(f, "{priority} call rejected ({reason})")
            }
            Self::Rejected { reason, priority, waited } => {
                write!(f, "{priority} call rejected after {waited:?} ({reason})")
            }
            Self::SheddingChanged { up_to: Some(priority) } => {
                write!(f, "calls of priority {priority} and below are shed")
            }
            Self::SheddingChanged { up_to: None } => f.write_str("calls are no longer shed"),
            Self::RateChanged { from, to } => {
                let change = if to > from { "lowered" } else { "back" };
                let [from, to] = [from, to].map(|time| 1.0 / time.as_secs_f64());
                write!(f, "rate {change} from {from:.2} to {to:.2} per second")
            }
            Self::LimitChanged { from, to } => write!(f, "concurrency limit {from} -> {to}"),
            Self::FellBack { class } => write!(f, "call answered ({})", name_of(class, "rejected")),
            Self::DrainBegan { in_flight } => write!(f, "drain began with {in_flight} calls in flight"),
            Self::DrainEnded { finished, left } => {
                write!(f, "drain ended, {finished} calls finished and {left} are left")
            }
            Self::QuotaSourceLost => f.write_str("the source of quotas does not answer"),
            Self::QuotaSourceRecovered { lost_for } => {
                write!(f, "the source of quotas answers again, after {lost_for:?}")
            }
            Self::HealthChanged(HealthTransition { from, to, failure: Some(failure) }) => {
                write!(f, "health {from} -> {to} ({failure})")
            }
            Self::HealthChanged(HealthTransition { from, to, .. }) => write!(f, "health {from} -> {to}"),
            Self::EndpointsChanged { added, removed, endpoints } => {
                write!(f, "endpoints changed, {added} added and {removed} removed, {endpoints} in use")
            }
            Self::LookupFailed { consecutive, endpoints } => {
                write!(f, "lookup failed, {consecutive} in a row, {endpoints} endpoints stay")
            }
            Self::EndpointEjected { cause, time } => write!(f, "endpoint ejected for {time:?} ({cause})"),
            Self::EndpointReturned => f.write_str("endpoint returned"),
            Self::EndpointChecked { is_down: true } => f.write_str("endpoint is down"),
            Self::EndpointChecked { is_down: false } => f.write_str("endpoint is up again"),
            Self::BalancePanicChanged { is_panic: true } => {
                f.write_str("too few endpoints are healthy, all get calls")
            }
            Self::BalancePanicChanged { is_panic: false } => f.write_str("enough endpoints are healthy"),
            Self::Panicked => f.write_str("the inner service panicked"),
            Self::Reconfigured => f.write_str("reconfigured"),
        }
    }
}

fn name_of(class: Option<ErrorClass>, none: &'static str) -> &'static str {
    class.map_or(none, ErrorClass::as_str)
}
