//! The values that pass between the machine and its shell.

use std::time::{Duration, Instant};

use super::health::Lockless;
use crate::{algo::after, call::Reason, telemetry::Trip};

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

    /// All probes are out. If they fail, the circuit opens for about `open_for`, so that is when to come back.
    pub(crate) fn probes_taken(open_for: Duration, now: Instant) -> Self {
        Self { reason: Reason::ProbesTaken, retry_at: Some(after(now, open_for)) }
    }
}

/// How calls are decided without the lock of the state machine, until the machine publishes another mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FastMode {
    /// Every call passes.
    Pass(Lockless),
    /// Every call is rejected until the time given; for good without one.
    Reject(Trip, Option<Instant>),
    /// Every call is rejected, until the time given at most, and may come back after so long.
    ProbesTaken { until: Instant, retry_after: Duration },
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
