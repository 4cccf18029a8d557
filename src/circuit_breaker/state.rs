//! The machine: it is told what happens and when, and decides.

use std::time::Instant;

use rand::{Rng, RngExt};

use super::{
    config::CircuitBreakerConfig,
    cooldown::Cooldown,
    health::{self, Calm, Health},
    permit::{Collected, Ending, Gate, Override, Permit, Refusal},
    probes::{Probes, Verdict},
    snapshot::{CircuitBreakerCounts, CircuitBreakerSnapshot},
    vote::Vote,
};
use crate::{
    CircuitState, CircuitTransition, EventKind, Outcome, Reason, Trip,
    algo::{Tally, after},
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

    /// Whether a place that was kept is still there.
    pub(super) fn holds(&self, permit: Permit) -> bool {
        permit.generation == self.generation
            && match (&self.phase, permit.probe) {
                (Phase::HalfOpen(probes), Some(id)) => probes.holds(id),
                _ => true,
            }
    }

    /// Whether [`admit`](Self::admit) would refuse for certain. Takes nothing.
    pub(super) fn peek(&self, now: Instant) -> Option<Refusal> {
        match &self.phase {
            Phase::HalfOpen(probes) if !probes.has_place(&self.config) => {
                Some(Self::probes_taken(&self.config, now))
            }
            Phase::Open { until } => Some(Refusal::open(self.last_trip, Some(*until))),
            Phase::ForcedOpen => Some(Refusal::open(Some(Trip::ByHand), None)),
            _ => None,
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

    /// When time alone will bring something about.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Open { until } => Some(*until),
            Phase::HalfOpen(probes) => probes.next_timeout(&self.config),
            Phase::Ramping { since, .. } => Some(after(*since, self.config.ramp)),
            Phase::Shadow { quiet, .. } => *quiet,
            Phase::Closed(_) | Phase::ForcedOpen | Phase::ForcedClosed(_) | Phase::Disabled => None,
        }
    }

    /// When it is worth asking again after a refusal. A ramp lets more and more pass, so not only at its end.
    pub(super) fn ask_again_at(&self, now: Instant) -> Option<Instant> {
        let again = self.next_timeout()?;
        match &self.phase {
            Phase::Ramping { .. } => Some(again.min(after(now, self.config.ramp / RAMP_TRIES))),
            _ => Some(again),
        }
    }

    /// Whether it could be forgotten without loss: closed, its ramp over, its last calls went well, and hardly any
    /// before them did not; or, where `forgiven`, whatever it remembers. What was taken in hand is not forgotten.
    pub(super) fn is_forgettable(&mut self, forgiven: bool, now: Instant) -> bool {
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

    pub(super) fn gate(&self) -> Gate {
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
    pub(super) fn reopens_at(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Open { until } => Some(*until),
            _ => None,
        }
    }

    pub(super) fn config(&self) -> &CircuitBreakerConfig {
        &self.config
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    pub(super) fn snapshot(&mut self, now: Instant) -> CircuitBreakerSnapshot {
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

    pub(super) fn state(&self) -> CircuitState {
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
            Verdict::Healthy => {
                self.cooldown.closed(now);
                let health = Health::new(&self.config, now);
                Some(self.enter(if self.config.ramp.is_zero() {
                    Phase::Closed(health)
                } else {
                    Phase::Ramping { health, since: now }
                }))
            }
            Verdict::Sick { failed } => {
                let trip = Trip::Probes { failed, total: self.config.half_open_probes };
                Some(self.open(trip, rng, now))
            }
            Verdict::Overdue => Some(self.open(Trip::Undecided, rng, now)),
        }
    }

    /// If the probes fail, the circuit opens for about `open_for`; that is when it is worth coming back.
    fn probes_taken(config: &CircuitBreakerConfig, now: Instant) -> Refusal {
        Refusal { reason: Reason::ProbesTaken, retry_at: Some(after(now, config.open_for)) }
    }
}

/// The share of calls that a ramp begins with.
const RAMP_START: f64 = 0.1;
/// How often somebody who waits for a place asks in the course of a ramp.
const RAMP_TRIES: u32 = 20;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;
