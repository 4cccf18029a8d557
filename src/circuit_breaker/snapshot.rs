//! The state and the counts of a circuit, for operators.

use std::time::Duration;

use crate::telemetry::{CircuitState, Trip};

/// The state and the counts of one circuit, taken at one instant.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CircuitBreakerSnapshot {
    /// The state of the circuit.
    pub state: CircuitState,
    /// The number of that state; it grows by one with every transition.
    pub generation: u32,
    /// Why the circuit opened last; `None` if it never did.
    pub last_trip: Option<Trip>,
    /// The wait until an open circuit admits a probe; `None` in other states.
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration::optional"))]
    pub retry_after: Option<Duration>,
    /// The number of calls in the window. 0 in states that count no calls.
    pub window_calls: u32,
    /// The number of failed calls in the window.
    pub window_failures: u32,
    /// The number of slow calls in the window.
    pub window_slow: u32,
    /// The ratio of failures in the window; `None` below `min_requests`.
    pub failure_rate: Option<f64>,
    /// The ratio of slow calls in the window; `None` below `min_requests`.
    pub slow_call_rate: Option<f64>,
    /// The number of consecutive failures.
    pub consecutive_failures: u32,
    /// How calls ended since the breaker was built.
    pub counts: CircuitBreakerCounts,
}

/// How calls ended. Every call that was started and is over is in exactly one of `successes`, `failures`,
/// `ignored`, `abandoned` and `rejected`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CircuitBreakerCounts {
    /// The backend answered, also if the request was wrong.
    pub successes: u64,
    /// The call failed, or panicked.
    pub failures: u64,
    /// The outcome says nothing about the backend, or the call was never polled.
    pub ignored: u64,
    /// The call was cut: its future was dropped, its deadline ended it, or its [`Deferred`](crate::Outcome::Deferred)
    /// response was dropped before the end.
    pub abandoned: u64,
    /// The call was rejected.
    pub rejected: u64,
    /// Calls, already counted above, that ended after the circuit had changed its state, and had no vote.
    pub late: u64,
    /// How often the circuit opened.
    pub trips: u64,
    /// How often the circuit would have opened, in shadow mode.
    pub would_trips: u64,
}
