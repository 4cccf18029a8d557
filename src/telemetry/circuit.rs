//! The states of a circuit, and the reasons why it opened. Rejections, events and snapshots share them.

use std::fmt;

/// The state of a circuit. A circuit is in exactly one state at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum CircuitState {
    /// The circuit passes and counts calls.
    Closed,
    /// The circuit has closed again and admits a rising ratio of the calls.
    Ramping,
    /// The circuit rejects calls until the open period is over.
    Open,
    /// The circuit admits a few probes, and their outcomes decide.
    HalfOpen,
    /// An operator holds the circuit open.
    ForcedOpen,
    /// An operator holds the circuit closed: it passes and counts calls, and does not trip.
    ForcedClosed,
    /// The circuit is switched off: it passes calls and does not count them.
    Disabled,
    /// The circuit counts calls and reports when it would have opened, but rejects no call.
    Shadow,
}

impl CircuitState {
    /// Whether the circuit rejects every call: it is open, or an operator holds it open.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::ForcedOpen)
    }

    /// The state in lower case, for events and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Ramping => "ramping",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::ForcedOpen => "forced_open",
            Self::ForcedClosed => "forced_closed",
            Self::Disabled => "disabled",
            Self::Shadow => "shadow",
        }
    }
}

impl fmt::Display for CircuitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The reason why a circuit opened, with the numbers that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Trip {
    /// This many consecutive calls failed.
    ConsecutiveFailures(u32),
    /// Too many of the calls in the window failed.
    FailureRate {
        /// The failed calls.
        failed: u32,
        /// All calls.
        total: u32,
    },
    /// Too many of the calls in the window were slow.
    SlowCallRate {
        /// The slow calls.
        slow: u32,
        /// All calls.
        total: u32,
    },
    /// While half-open, too many probes failed or were slow for the circuit to close.
    Probes {
        /// The failed and slow probes.
        failed: u32,
        /// The probes that have come to a result.
        total: u32,
    },
    /// An operator opened the circuit.
    ByHand,
}

impl Trip {
    /// Packs the reason into one word, so that a rejection reads it without a lock. Counts above 2³⁰ saturate.
    pub(crate) fn pack(self) -> u64 {
        let (tag, part, total) = match self {
            Self::ConsecutiveFailures(count) => (0, count, 0),
            Self::FailureRate { failed, total } => (1, failed, total),
            Self::SlowCallRate { slow, total } => (2, slow, total),
            Self::Probes { failed, total } => (3, failed, total),
            Self::ByHand => (4, 0, 0),
        };
        tag << (2 * COUNT_BITS)
            | u64::from(part.min(MAX_COUNT)) << COUNT_BITS
            | u64::from(total.min(MAX_COUNT))
    }

    /// The reason in a word of [`pack`](Self::pack).
    pub(crate) fn unpack(word: u64) -> Self {
        let count = |bits: u64| u32::try_from(bits & u64::from(MAX_COUNT)).expect("30 bits fit");
        let (part, total) = (count(word >> COUNT_BITS), count(word));
        match word >> (2 * COUNT_BITS) {
            0 => Self::ConsecutiveFailures(part),
            1 => Self::FailureRate { failed: part, total },
            2 => Self::SlowCallRate { slow: part, total },
            3 => Self::Probes { failed: part, total },
            _ => Self::ByHand,
        }
    }
}

impl fmt::Display for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConsecutiveFailures(count) => write!(f, "consecutive failures: {count}"),
            Self::FailureRate { failed, total } => write!(f, "{failed} of {total} calls failed"),
            Self::SlowCallRate { slow, total } => write!(f, "{slow} of {total} calls were slow"),
            Self::Probes { failed, total } => write!(f, "{failed} of {total} probes did not pass"),
            Self::ByHand => f.write_str("opened by hand"),
        }
    }
}

/// A transition of a circuit from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitTransition {
    /// The former state.
    pub from: CircuitState,
    /// The new state.
    pub to: CircuitState,
    /// The number of the new state; each transition adds one.
    pub generation: u32,
    /// The reason, if the circuit opened.
    pub trip: Option<Trip>,
}

const COUNT_BITS: u32 = 30;
const MAX_COUNT: u32 = (1 << COUNT_BITS) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trip_survives_packing() {
        for trip in [
            Trip::ConsecutiveFailures(5),
            Trip::FailureRate { failed: 60, total: 100 },
            Trip::SlowCallRate { slow: MAX_COUNT, total: MAX_COUNT },
            Trip::Probes { failed: 2, total: 3 },
            Trip::ByHand,
        ] {
            assert_eq!(Trip::unpack(trip.pack()), trip);
        }
        assert_eq!(
            Trip::unpack(Trip::ConsecutiveFailures(u32::MAX).pack()),
            Trip::ConsecutiveFailures(MAX_COUNT)
        );
    }
}
