//! The machine: it is told what happens and when, and decides.

use std::time::Instant;

use rand::{Rng, RngExt};

use super::{
    config::CircuitBreakerConfig,
    cooldown::Cooldown,
    health::Health,
    permit::{Collected, Ending, Override, Permit, Refusal},
    probes::{Finding, Probes},
    snapshot::CircuitBreakerCounts,
    vote::Vote,
};
use crate::{
    algo::after,
    call::{Outcome, Reason},
    telemetry::{CircuitState, CircuitTransition, EventKind, Trip},
};

/// One circuit.
#[derive(Clone, Debug)]
pub(super) struct State {
    config: CircuitBreakerConfig,
    phase: Phase,
    generation: u32,
    /// Permits of before were given to another owner.
    first_generation: u32,
    cooldown: Cooldown,
    last_trip: Option<Trip>,
    counts: CircuitBreakerCounts,
}

#[derive(Clone, Debug)]
enum Phase {
    Closed(Health),
    Ramping {
        health: Health,
        since: Instant,
    },
    Open {
        until: Instant,
    },
    HalfOpen(Probes),
    ForcedOpen,
    ForcedClosed(Health),
    Disabled,
    /// `quiet` is set while a real circuit would be open, in which time it would see no calls.
    Shadow {
        health: Health,
        quiet: Option<Instant>,
    },
}

impl State {
    pub(super) fn new(config: CircuitBreakerConfig, generation: u32, now: Instant) -> Self {
        Self {
            config,
            phase: Phase::Closed(Health::new(&config, now)),
            generation,
            first_generation: generation,
            cooldown: Cooldown::default(),
            last_trip: None,
            counts: CircuitBreakerCounts::default(),
        }
    }

    /// Lets a call pass, or says why not. Time must have been brought up by [`on_timeout`](Self::on_timeout).
    pub(super) fn admit(&mut self, rng: &mut impl Rng, now: Instant) -> Result<Permit, Refusal> {
        let permit = Permit::free(self.generation);
        match &mut self.phase {
            Phase::Closed(_) | Phase::ForcedClosed(_) | Phase::Disabled | Phase::Shadow { .. } => Ok(permit),
            Phase::Ramping { since, .. } => {
                let ramped = now.saturating_duration_since(*since).as_secs_f64();
                let share = RAMP_START + (1.0 - RAMP_START) * ramped / self.config.ramp.as_secs_f64();
                let admitted = rng.random::<f64>() < share;
                let ramp_ends = after(*since, self.config.ramp);
                admitted
                    .then_some(permit)
                    .ok_or(Refusal { reason: Reason::Ramping, retry_at: Some(ramp_ends) })
            }
            Phase::HalfOpen(probes) => {
                let refusal = Self::probes_taken(&self.config, now);
                probes.take(&self.config, now).map(|id| permit.probe(id)).ok_or(refusal)
            }
            Phase::Open { until } => Err(Refusal::open(self.last_trip, Some(*until))),
            Phase::ForcedOpen => Err(Refusal::open(Some(Trip::ByHand), None)),
        }
    }

    /// Keeps a place for a call that may come, or says why not.
    pub(super) fn reserve(&mut self, rng: &mut impl Rng, now: Instant) -> Result<Permit, Refusal> {
        let Phase::HalfOpen(probes) = &mut self.phase else { return self.admit(rng, now) };
        let refusal = Self::probes_taken(&self.config, now);
        let permit = Permit::free(self.generation);
        probes.reserve(&self.config, now).map(|id| permit.probe(id)).ok_or(refusal)
    }

    /// The call for which a place was kept has come.
    pub(super) fn begin(&mut self, permit: Permit, now: Instant) {
        if let (Phase::HalfOpen(probes), Some(id)) = (&mut self.phase, permit.probe)
            && permit.generation == self.generation
        {
            probes.begin(id, &self.config, now);
        }
    }

    /// Counts how an admitted call ended. Stragglers of an earlier generation have no vote.
    pub(super) fn record(
        &mut self,
        permit: Permit,
        ending: Ending,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Option<EventKind> {
        if !self.knows(permit) {
            return None;
        }
        let (vote, slow) = self.counts.add(ending, self.config.abandoned);
        if permit.generation != self.generation {
            self.counts.late += u64::from(!matches!(ending, Ending::Withdrawn));
            return None;
        }
        if let Ending::Done { outcome: Outcome::Failure { retry_after: Some(hint), .. }, .. } = ending {
            self.cooldown.hint(hint, &self.config, now);
        }
        let trip = match &mut self.phase {
            Phase::HalfOpen(probes) => {
                let passed = (vote != Vote::Ignored).then_some(!vote.is_bad() && !slow);
                let had_place = permit.probe.is_some_and(|id| probes.settle(id, passed));
                self.counts.late += u64::from(!had_place && !matches!(ending, Ending::Withdrawn));
                return self.settle(rng, now);
            }
            _ if vote == Vote::Ignored => return None,
            Phase::Closed(health) | Phase::Ramping { health, .. } | Phase::Shadow { health, quiet: None } => {
                health.record(vote, slow, &self.config, now)?
            }
            Phase::ForcedClosed(health) => {
                health.record(vote, slow, &self.config, now);
                return None;
            }
            Phase::Disabled | Phase::Shadow { .. } | Phase::Open { .. } | Phase::ForcedOpen => return None,
        };
        Some(self.open(trip, rng, now))
    }

    /// Counts what was counted without asking.
    pub(super) fn absorb(&mut self, collected: Collected) {
        self.counts.successes += collected.healthy;
        self.counts.rejected += collected.rejected;
        if let Phase::Closed(health) | Phase::ForcedClosed(health) | Phase::Shadow { health, quiet: None } =
            &mut self.phase
        {
            health.absorb(collected.healthy);
        }
    }

    /// What time alone brings about, at most one transition at a time.
    pub(super) fn on_timeout(&mut self, rng: &mut impl Rng, now: Instant) -> Option<EventKind> {
        match &mut self.phase {
            Phase::Open { until } if now >= *until => Some(self.enter(Phase::HalfOpen(Probes::default()))),
            Phase::HalfOpen(_) => self.settle(rng, now),
            Phase::Ramping { health, since } if now >= after(*since, self.config.ramp) => {
                let health = health.clone();
                Some(self.enter(Phase::Closed(health)))
            }
            Phase::Shadow { quiet, .. } if quiet.is_some_and(|until| now >= until) => {
                *quiet = None;
                self.cooldown.closed(now);
                None
            }
            _ => None,
        }
    }

    /// Takes the circuit in hand, or hands it back to itself: closed, with nothing held against the peer.
    pub(super) fn take_over(&mut self, to: Override, now: Instant) -> EventKind {
        let health = Health::new(&self.config, now);
        let phase = match to {
            Override::Automatic => {
                self.cooldown = Cooldown::default();
                Phase::Closed(health)
            }
            Override::ForcedOpen => Phase::ForcedOpen,
            Override::ForcedClosed => Phase::ForcedClosed(health),
            Override::Disabled => Phase::Disabled,
            Override::Shadow => Phase::Shadow { health, quiet: None },
        };
        self.enter(phase)
    }

    /// Other numbers from now on. What the window holds is kept, as is the time at which an open circuit ends.
    pub(super) fn update(&mut self, config: CircuitBreakerConfig, now: Instant) {
        let resized = config.window != self.config.window;
        self.config = config;
        if let Phase::Closed(health)
        | Phase::Ramping { health, .. }
        | Phase::ForcedClosed(health)
        | Phase::Shadow { health, .. } = &mut self.phase
            && resized
        {
            health.resize(&config, now);
        }
    }

    /// The state of a circuit that nobody uses: no permit of before is worth anything, and nothing is counted.
    pub(super) fn retired(&self, now: Instant) -> Self {
        let unused = Self::new(CircuitBreakerConfig::new(), self.generation.wrapping_add(1), now);
        Self { phase: Phase::Disabled, ..unused }
    }

    /// Whether this circuit gave the permit, be it long ago. Generations wrap.
    fn knows(&self, permit: Permit) -> bool {
        let age = self.generation.wrapping_sub(permit.generation);
        age <= self.generation.wrapping_sub(self.first_generation)
    }

    /// Every transition goes through here. In-flight calls of the phase that is left become stragglers.
    fn enter(&mut self, phase: Phase) -> EventKind {
        let from = self.state();
        self.phase = phase;
        self.generation = self.generation.wrapping_add(1);
        let to = self.state();
        let trip = match to {
            CircuitState::Open => self.last_trip,
            CircuitState::ForcedOpen => Some(Trip::ByHand),
            _ => None,
        };
        EventKind::CircuitChanged(CircuitTransition { from, to, generation: self.generation, trip })
    }

    fn open(&mut self, trip: Trip, rng: &mut impl Rng, now: Instant) -> EventKind {
        let until = self.cooldown.open(&self.config, rng.random(), now);
        if let Phase::Shadow { health, quiet } = &mut self.phase {
            *health = Health::new(&self.config, now);
            *quiet = Some(until);
            self.counts.would_trips += 1;
            return EventKind::CircuitWouldTrip(trip);
        }
        self.counts.trips += 1;
        self.last_trip = Some(trip);
        self.enter(Phase::Open { until })
    }

    /// Follows the verdict of the probes, if they have come to one.
    fn settle(&mut self, rng: &mut impl Rng, now: Instant) -> Option<EventKind> {
        let Phase::HalfOpen(probes) = &mut self.phase else {
            return None;
        };
        match probes.verdict(&self.config, now)? {
            Finding::Healthy => {
                self.cooldown.closed(now);
                let health = Health::new(&self.config, now);
                Some(self.enter(if self.config.ramp.is_zero() {
                    Phase::Closed(health)
                } else {
                    Phase::Ramping { health, since: now }
                }))
            }
            Finding::Sick { failed } => {
                let trip = Trip::Probes { failed, total: self.config.half_open_probes };
                Some(self.open(trip, rng, now))
            }
            Finding::Overdue => Some(self.open(Trip::Undecided, rng, now)),
        }
    }

    /// If the probes fail, the circuit opens for about `open_for`; that is when it is worth coming back.
    fn probes_taken(config: &CircuitBreakerConfig, now: Instant) -> Refusal {
        Refusal { reason: Reason::ProbesTaken, retry_at: Some(after(now, config.open_for)) }
    }
}

/// The share of calls that a ramp begins with.
const RAMP_START: f64 = 0.1;

mod view;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
