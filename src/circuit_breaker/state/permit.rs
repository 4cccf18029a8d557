//! The values that pass between the machine and its shell.

use std::time::Instant;

use super::health::Lockless;
use crate::{call::Reason, telemetry::Trip};

/// Proof of admission, tied to the generation that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Permit {
    pub(crate) generation: u32,
    pub(crate) probe: Option<u32>,
}

impl Permit {
    /// For a call that is no probe.
    pub(crate) const fn free(generation: u32) -> Self {
        Self { generation, probe: None }
    }

    /// For a call that holds the place of a probe.
    pub(super) const fn probe(self, id: u32) -> Self {
        Self { probe: Some(id), ..self }
    }
}

/// Why a call is rejected, and when the next one may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) retry_at: Option<Instant>,
}

impl Refusal {
    /// By an open circuit.
    pub(crate) const fn open(trip: Trip, until: Option<Instant>) -> Self {
        Self { reason: Reason::CircuitOpen(trip), retry_at: until }
    }
}

/// How calls are decided without the lock of the state machine, until the machine publishes another mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FastMode {
    /// Every call passes.
    Pass(Lockless),
    /// Every call is rejected until the time given; for good without one.
    Reject(Trip, Option<Instant>),
    /// Every call asks the machine.
    Ask,
}

/// The events that were counted without the machine's lock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Collected {
    /// Healthy calls.
    pub(crate) healthy: u64,
    /// Rejected calls.
    pub(crate) rejected: u64,
}

/// The states that an operator can set by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Override {
    Automatic,
    ForcedOpen,
    ForcedClosed,
    Disabled,
    Shadow,
}
