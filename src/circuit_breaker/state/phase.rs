//! The phases of a circuit: which calls pass in each of them, and when time ends it.

use std::time::Instant;

use super::{
    health::{Health, Lockless},
    permit::{FastMode, Refusal},
    probes::Probes,
};
use crate::{
    algo::after,
    circuit_breaker::config::CircuitBreakerConfig,
    telemetry::{CircuitState, Trip},
};

#[derive(Clone, Debug)]
pub(super) enum Phase {
    Closed(Health),
    Ramping {
        health: Health,
        since: Instant,
    },
    Open {
        until: Instant,
        trip: Trip,
    },
    HalfOpen {
        probes: Probes,
        since: Instant,
    },
    ForcedOpen,
    ForcedClosed(Health),
    Disabled,
    Shadow {
        health: Health,
        /// While a real circuit would be open, in which time it would see no calls.
        open_until: Option<Instant>,
    },
}

impl Phase {
    pub(super) const fn name(&self) -> CircuitState {
        match self {
            Self::Closed(_) => CircuitState::Closed,
            Self::Ramping { .. } => CircuitState::Ramping,
            Self::Open { .. } => CircuitState::Open,
            Self::HalfOpen { .. } => CircuitState::HalfOpen,
            Self::ForcedOpen => CircuitState::ForcedOpen,
            Self::ForcedClosed(_) => CircuitState::ForcedClosed,
            Self::Disabled => CircuitState::Disabled,
            Self::Shadow { .. } => CircuitState::Shadow,
        }
    }

    /// The counts, in the phases that have them.
    pub(super) fn health_mut(&mut self) -> Option<&mut Health> {
        match self {
            Self::Closed(health)
            | Self::Ramping { health, .. }
            | Self::ForcedClosed(health)
            | Self::Shadow { health, .. } => Some(health),
            Self::Open { .. } | Self::HalfOpen { .. } | Self::ForcedOpen | Self::Disabled => None,
        }
    }

    /// The counts, if a call that ends now is counted there.
    pub(super) fn counting_health(&mut self) -> Option<&mut Health> {
        match self {
            Self::Shadow { open_until: Some(_), .. } => None,
            phase => phase.health_mut(),
        }
    }

    /// When time alone brings something about.
    pub(super) fn next_timeout(&self, config: &CircuitBreakerConfig) -> Option<Instant> {
        match self {
            Self::Open { until, .. } => Some(*until),
            Self::HalfOpen { probes, .. } => probes.next_timeout(),
            Self::Ramping { since, .. } => Some(after(*since, config.ramp)),
            Self::Shadow { open_until, .. } => *open_until,
            Self::Closed(_) | Self::ForcedOpen | Self::ForcedClosed(_) | Self::Disabled => None,
        }
    }

    /// The rejection that every call gets now; `None` where some or all calls pass.
    pub(super) fn refusal(&self, config: &CircuitBreakerConfig, now: Instant) -> Option<Refusal> {
        match self {
            Self::HalfOpen { probes, .. } if !probes.has_place(config) => {
                Some(Refusal::probes_taken(config.open_for, now))
            }
            Self::Open { until, trip } => Some(Refusal::open(*trip, Some(*until))),
            Self::ForcedOpen => Some(Refusal::open(Trip::ByHand, None)),
            _ => None,
        }
    }

    pub(super) fn fast_mode(&self, config: &CircuitBreakerConfig) -> FastMode {
        match self {
            Self::Closed(health) | Self::ForcedClosed(health) | Self::Shadow { health, open_until: None } => {
                FastMode::Pass(health.lockless(config))
            }
            Self::Disabled => FastMode::Pass(Lockless::Always),
            Self::Shadow { .. } => FastMode::Pass(Lockless::Never),
            Self::Open { until, trip } => FastMode::Reject(*trip, Some(*until)),
            Self::ForcedOpen => FastMode::Reject(Trip::ByHand, None),
            Self::HalfOpen { probes, .. } => match probes.next_timeout() {
                Some(until) if !probes.has_place(config) => {
                    FastMode::ProbesTaken { until, retry_after: config.open_for }
                }
                _ => FastMode::Ask,
            },
            Self::Ramping { .. } => FastMode::Ask,
        }
    }
}
