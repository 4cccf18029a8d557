//! What passes between the machine and its shell: permits and refusals, endings, and the gate.

use std::time::Instant;

use super::health::Calm;
use crate::{
    call::{Outcome, Reason},
    telemetry::Trip,
};

/// Proof of admission, tied to the phase that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct Permit {
    pub(super) generation: u32,
    pub(super) probe: Option<u32>,
}

impl Permit {
    /// For a call that passes while all do.
    pub(super) const fn free(generation: u32) -> Self {
        Self { generation, probe: None }
    }

    /// For a call that has a probe's place.
    pub(super) const fn probe(self, id: u32) -> Self {
        Self { probe: Some(id), ..self }
    }
}

/// A call that does not pass, and when the next might.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) retry_at: Option<Instant>,
}

impl Refusal {
    /// By an open circuit. One that has never tripped was opened by hand.
    pub(super) fn open(trip: Option<Trip>, until: Option<Instant>) -> Self {
        Self { reason: Reason::CircuitOpen(trip.unwrap_or(Trip::ByHand)), retry_at: until }
    }
}

/// How an admitted call ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    Done {
        outcome: Outcome,
        slow: bool,
    },
    Panicked,
    /// Dropped before it was done.
    Abandoned,
    /// Dropped before it was ever polled: the peer had no part in it.
    Unused,
    /// It never came to a call: a place that was reserved and given back.
    Withdrawn,
}

/// What holds for every call until the state says otherwise: what can be decided without asking it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// All pass. A healthy call need not be shown to the state one by one while it is calm.
    Free(Calm),
    /// None passes before the time to come back; without one, none ever.
    Shut(Refusal),
    /// Each has to ask.
    Ask,
}

/// What was counted without asking the state.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Collected {
    /// Calls that ended well while the gate was free and calm.
    pub(super) healthy: u64,
    /// Calls that were turned away at a shut gate.
    pub(super) rejected: u64,
}

/// What a handle may do to a circuit by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Override {
    Automatic,
    ForcedOpen,
    ForcedClosed,
    Disabled,
    Shadow,
}
