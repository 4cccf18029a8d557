//! The values that pass between the machine and its shell.

use std::time::Instant;

use super::health::Lockless;
use crate::{call::Reason, telemetry::Trip};

/// Proof of admission, tied to the generation that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(in crate::circuit_breaker) struct Permit {
    pub(in crate::circuit_breaker) generation: u32,
    pub(in crate::circuit_breaker) probe: Option<u32>,
}

impl Permit {
    /// For a call that is no probe.
    pub(in crate::circuit_breaker) const fn free(generation: u32) -> Self {
        Self { generation, probe: None }
    }

    /// For a call that holds the place of a probe.
    pub(super) const fn probe(self, id: u32) -> Self {
        Self { probe: Some(id), ..self }
    }
}

/// Why a call is rejected, and when the next one may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::circuit_breaker) struct Refusal {
    pub(in crate::circuit_breaker) reason: Reason,
    pub(in crate::circuit_breaker) retry_at: Option<Instant>,
}

impl Refusal {
    /// By an open circuit.
    pub(in crate::circuit_breaker) const fn open(trip: Trip, until: Option<Instant>) -> Self {
        Self { reason: Reason::CircuitOpen(trip), retry_at: until }
    }
}

/// The decision for every call until the machine says otherwise, taken without its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::circuit_breaker) enum FastMode {
    /// Every call passes.
    Pass(Lockless),
    /// Every call is rejected until the time given; for good without one.
    Reject(Trip, Option<Instant>),
    /// Every call asks the machine.
    Ask,
}

/// The events that were counted without the machine's lock.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::circuit_breaker) struct Collected {
    /// Healthy calls.
    pub(in crate::circuit_breaker) healthy: u64,
    /// Rejected calls.
    pub(in crate::circuit_breaker) rejected: u64,
}

/// The states that an operator can set by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::circuit_breaker) enum Override {
    Automatic,
    ForcedOpen,
    ForcedClosed,
    Disabled,
    Shadow,
}
