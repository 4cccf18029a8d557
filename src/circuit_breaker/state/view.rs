//! What can be seen of the machine: what holds for every call, what time will bring, and how it stands.

use std::time::Instant;

use super::{Phase, State};
use crate::{
    algo::{Tally, after},
    circuit_breaker::{
        config::CircuitBreakerConfig,
        health::{self, Calm},
        permit::{Gate, Permit, Refusal},
        snapshot::CircuitBreakerSnapshot,
    },
    telemetry::{CircuitState, Trip},
};

impl State {
    /// Whether a place that was kept is still there.
    pub(in crate::circuit_breaker) fn holds(&self, permit: Permit) -> bool {
        permit.generation == self.generation
            && match (&self.phase, permit.probe) {
                (Phase::HalfOpen(probes), Some(id)) => probes.holds(id),
                _ => true,
            }
    }

    /// Whether [`admit`](Self::admit) would refuse for certain. Takes nothing.
    pub(in crate::circuit_breaker) fn peek(&self, now: Instant) -> Option<Refusal> {
        match &self.phase {
            Phase::HalfOpen(probes) if !probes.has_place(&self.config) => {
                Some(Self::probes_taken(&self.config, now))
            }
            Phase::Open { until } => Some(Refusal::open(self.last_trip, Some(*until))),
            Phase::ForcedOpen => Some(Refusal::open(Some(Trip::ByHand), None)),
            _ => None,
        }
    }

    /// When time alone will bring something about.
    pub(in crate::circuit_breaker) fn next_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Open { until } => Some(*until),
            Phase::HalfOpen(probes) => probes.next_timeout(&self.config),
            Phase::Ramping { since, .. } => Some(after(*since, self.config.ramp)),
            Phase::Shadow { quiet, .. } => *quiet,
            Phase::Closed(_) | Phase::ForcedOpen | Phase::ForcedClosed(_) | Phase::Disabled => None,
        }
    }

    /// When it is worth asking again after a refusal. A ramp lets more and more pass, so not only at its end.
    pub(in crate::circuit_breaker) fn ask_again_at(&self, now: Instant) -> Option<Instant> {
        let again = self.next_timeout()?;
        match &self.phase {
            Phase::Ramping { .. } => Some(again.min(after(now, self.config.ramp / RAMP_TRIES))),
            _ => Some(again),
        }
    }

    /// Whether it could be forgotten without loss: closed, its ramp over, its last calls went well, and hardly any
    /// before them did not; or, where `forgiven`, whatever it remembers. What was taken in hand is not forgotten.
    pub(in crate::circuit_breaker) fn is_forgettable(&mut self, forgiven: bool, now: Instant) -> bool {
        let ramped = self.next_timeout().is_some_and(|end| now >= end);
        let snapshot = self.snapshot(now);
        let bad = snapshot.window_failures.max(snapshot.window_slow);
        let well = snapshot.consecutive_failures == 0 && bad.saturating_mul(10) <= snapshot.window_calls;
        match snapshot.state {
            CircuitState::Closed => forgiven || well,
            CircuitState::Ramping => forgiven || (well && ramped),
            CircuitState::Open | CircuitState::HalfOpen => forgiven,
            _ => false,
        }
    }

    pub(in crate::circuit_breaker) fn gate(&self) -> Gate {
        match &self.phase {
            Phase::Closed(health) | Phase::ForcedClosed(health) | Phase::Shadow { health, quiet: None } => {
                Gate::Free(health.calm(&self.config))
            }
            Phase::Disabled => Gate::Free(Calm::Always),
            Phase::Shadow { .. } => Gate::Free(Calm::Never),
            Phase::Open { until } => Gate::Shut(Refusal::open(self.last_trip, Some(*until))),
            Phase::ForcedOpen => Gate::Shut(Refusal::open(Some(Trip::ByHand), None)),
            Phase::Ramping { .. } | Phase::HalfOpen(_) => Gate::Ask,
        }
    }

    /// When an open circuit lets a probe through.
    pub(in crate::circuit_breaker) fn reopens_at(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Open { until } => Some(*until),
            _ => None,
        }
    }

    pub(in crate::circuit_breaker) fn config(&self) -> &CircuitBreakerConfig {
        &self.config
    }

    pub(in crate::circuit_breaker) fn generation(&self) -> u32 {
        self.generation
    }

    pub(in crate::circuit_breaker) fn snapshot(&mut self, now: Instant) -> CircuitBreakerSnapshot {
        let (tally, consecutive_failures) = match &mut self.phase {
            Phase::Closed(health)
            | Phase::Ramping { health, .. }
            | Phase::ForcedClosed(health)
            | Phase::Shadow { health, .. } => {
                health.advance(now);
                (health.tally(), health.consecutive())
            }
            _ => (Tally::default(), 0),
        };
        let judged = tally.total > 0 && tally.total >= health::min_requests(&self.config);
        CircuitBreakerSnapshot {
            state: self.state(),
            generation: self.generation,
            last_trip: self.last_trip,
            retry_after: self.reopens_at().map(|until| until.saturating_duration_since(now)),
            window_calls: tally.total,
            window_failures: tally.failed,
            window_slow: tally.slow,
            failure_rate: judged.then(|| tally.failure_rate()),
            slow_call_rate: judged.then(|| tally.slow_rate()),
            consecutive_failures,
            counts: self.counts,
        }
    }

    pub(in crate::circuit_breaker) fn state(&self) -> CircuitState {
        match &self.phase {
            Phase::Closed(_) => CircuitState::Closed,
            Phase::Ramping { .. } => CircuitState::Ramping,
            Phase::Open { .. } => CircuitState::Open,
            Phase::HalfOpen(_) => CircuitState::HalfOpen,
            Phase::ForcedOpen => CircuitState::ForcedOpen,
            Phase::ForcedClosed(_) => CircuitState::ForcedClosed,
            Phase::Disabled => CircuitState::Disabled,
            Phase::Shadow { .. } => CircuitState::Shadow,
        }
    }
}

/// How often somebody who waits for a place asks in the course of a ramp.
const RAMP_TRIES: u32 = 20;
