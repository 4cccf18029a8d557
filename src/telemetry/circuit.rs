//! The words for circuits: their states, and why one opened. Rejections, events and snapshots share them.

use std::fmt;

/// What a circuit does with calls at the moment. Exactly one of these holds at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CircuitState {
    /// Calls pass and are counted.
    Closed,
    /// Closed again, admitting a rising share of the calls.
    Ramping,
    /// Calls are rejected until the peer has had its rest.
    Open,
    /// A few probes pass; their outcome decides.
    HalfOpen,
    /// Held open by hand.
    ForcedOpen,
    /// Held closed by hand: calls pass and are counted, and nothing trips.
    ForcedClosed,
    /// Switched off: calls pass and have no vote.
    Disabled,
    /// Counts and says what it would have done, but rejects nobody.
    Shadow,
}

impl CircuitState {
    /// The state in lower case, as events and metrics spell it.
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

/// Why a circuit opened, with the numbers that decided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trip {
    /// That many calls in a row failed.
    ConsecutiveFailures(u32),
    /// Too many of the calls in the window failed.
    FailureRate {
        /// How many failed.
        failed: u32,
        /// Of how many.
        total: u32,
    },
    /// Too many of the calls in the window were slow.
    SlowCallRate {
        /// How many were slow.
        slow: u32,
        /// Of how many.
        total: u32,
    },
    /// While half-open, too many probes failed or were slow for the circuit to close.
    Probes {
        /// How many did not pass.
        failed: u32,
        /// Of how many that were allowed.
        total: u32,
    },
    /// Somebody opened it by hand.
    ByHand,
}

impl Trip {
    /// Packs it into one word, so that a rejection can read it without a lock. Counts above 2³⁰ saturate.
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

    /// What [`pack`](Self::pack) packed.
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
            Self::ConsecutiveFailures(count) => write!(f, "{count} calls in a row failed"),
            Self::FailureRate { failed, total } => write!(f, "{failed} of {total} calls failed"),
            Self::SlowCallRate { slow, total } => write!(f, "{slow} of {total} calls were slow"),
            Self::Probes { failed, total } => write!(f, "{failed} of {total} probes did not pass"),
            Self::ByHand => f.write_str("opened by hand"),
        }
    }
}

/// A move of a circuit from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitTransition {
    /// The state that was left.
    pub from: CircuitState,
    /// The state that was entered.
    pub to: CircuitState,
    /// The number of the state that was entered; it grows by one with every transition.
    pub generation: u32,
    /// Why the circuit opened, where it did.
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
