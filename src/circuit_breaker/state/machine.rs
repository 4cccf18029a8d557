//! The machine of one circuit: it decides on events and times that its shell reports.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{
    answers::Answers,
    ending::{Ending, Vote},
    health::{self, Health},
    open_backoff::OpenBackoff,
    permit::{Collected, FastMode, Override, Permit, Refusal},
    phase::Phase,
    probes::{ProbeResult, Probes},
};
use crate::{
    algo::{Tally, after},
    call::{Outcome, Reason},
    circuit_breaker::{
        config::{Abandoned, CircuitBreakerConfig},
        snapshot::{CircuitBreakerCounts, CircuitBreakerSnapshot},
    },
    telemetry::{CircuitState, CircuitTransition, EventKind, Trip},
};

/// One circuit.
#[derive(Clone, Debug)]
pub(crate) struct State {
    config: CircuitBreakerConfig,
    pub(super) phase: Phase,
    generation: u32,
    backoff: OpenBackoff,
    answers: Answers,
    last_trip: Option<Trip>,
    counts: CircuitBreakerCounts,
    /// Its own: a thread's generator cannot be used in the destructor of a thread-local, where a call may be dropped.
    pub(super) rng: SmallRng,
}

impl State {
    /// `patience` is how long a call waits before it may count as unanswered, until the circuit has learnt that.
    pub(crate) fn new(config: CircuitBreakerConfig, patience: Duration, seed: u64, now: Instant) -> Self {
        Self {
            config,
            phase: Phase::Closed(Health::new(&config, now)),
            generation: 0,
            backoff: OpenBackoff::default(),
            answers: Answers::new(patience, now),
            last_trip: None,
            counts: CircuitBreakerCounts::default(),
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    /// Admits a call, or says why not. [`advance`](Self::advance) has brought the machine up to `now`.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<Permit, Refusal> {
        let permit = Permit::free(self.generation);
        match &mut self.phase {
            Phase::Ramping { since, .. } => {
                let ramped = now.saturating_duration_since(*since).as_secs_f64();
                let ratio = RAMP_START + (1.0 - RAMP_START) * ramped / self.config.ramp.as_secs_f64();
                let ramp_ends = after(*since, self.config.ramp);
                let refusal = Refusal { reason: Reason::Ramping, retry_at: Some(ramp_ends) };
                if self.rng.random::<f64>() < ratio { Ok(permit) } else { Err(refusal) }
            }
            Phase::HalfOpen { probes, .. } => match probes.take(&self.config, now) {
                Some(id) => Ok(permit.probe(id)),
                None => Err(Refusal::probes_taken(self.config.open_for, now)),
            },
            phase => phase.refusal(&self.config, now).map_or(Ok(permit), Err),
        }
    }

    /// Reserves a place for a call that may come, or says why not.
    pub(crate) fn reserve(&mut self, now: Instant) -> Result<Permit, Refusal> {
        let Phase::HalfOpen { probes, .. } = &mut self.phase else { return self.admit(now) };
        match probes.reserve(&self.config, now) {
            Some(id) => Ok(Permit::free(self.generation).probe(id)),
            None => Err(Refusal::probes_taken(self.config.open_for, now)),
        }
    }

    /// The call for which a place was reserved has come.
    pub(crate) fn begin(&mut self, permit: Permit, now: Instant) {
        if let (Phase::HalfOpen { probes, .. }, Some(id)) = (&mut self.phase, permit.probe)
            && permit.generation == self.generation
        {
            probes.begin(id, &self.config, now);
        }
    }

    /// Counts how an admitted call ended. A call of an earlier generation has no vote.
    pub(crate) fn record(&mut self, permit: Permit, ending: Ending, now: Instant) -> Option<EventKind> {
        let cut = self.config.abandoned == Abandoned::ByTime && ending.is_cut(now);
        let (vote, slow) = ending.vote(&self.config, &mut self.answers, &mut self.counts, now);
        let hint = match ending {
            Ending::Done { outcome: Outcome::Failure { retry_after, .. }, .. } => retry_after,
            _ => None,
        };
        let is_late = match &mut self.phase {
            _ if permit.generation != self.generation => true,
            Phase::HalfOpen { probes, .. } => {
                // Without other calls, a cut probe is no evidence by itself: the silence is the circuit's own.
                let passed = (!cut && vote != Vote::Ignored).then_some(!vote.is_failure() && !slow);
                permit.probe.is_none_or(|id| !probes.settle(id, passed))
            }
            _ => false,
        };
        if is_late {
            self.counts.late += u64::from(!matches!(ending, Ending::Withdrawn));
            return None;
        }
        if let Phase::HalfOpen { probes, .. } = &mut self.phase {
            if cut && vote == Vote::Failure {
                probes.unanswered();
            }
            return self.follow_probes(hint, now);
        }
        if vote == Vote::Ignored {
            return None;
        }
        let trip = self.phase.counting_health()?.record(vote, slow, &self.config, now)?;
        let trips = !matches!(self.phase, Phase::ForcedClosed(_));
        trips.then(|| self.open(trip, hint, now))
    }

    /// The call of this permit has a body to send.
    pub(crate) fn uploads(&mut self, permit: Permit) {
        if let (Phase::HalfOpen { probes, .. }, Some(id)) = (&mut self.phase, permit.probe)
            && permit.generation == self.generation
        {
            probes.uploads(id);
        }
    }

    /// Counts the calls that were counted without the lock.
    pub(crate) fn absorb(&mut self, collected: Collected, now: Instant) {
        self.counts.successes += collected.healthy;
        self.counts.rejected += collected.rejected;
        self.answers.count(collected.healthy, now);
        if let Some(health) = self.phase.counting_health() {
            health.absorb(collected.healthy);
        }
    }

    /// A successful call had to wait this long.
    pub(crate) fn sample_wait(&mut self, waited: Duration) {
        self.answers.sample(waited);
    }

    /// Whether every successful call that had to wait shall be sampled.
    pub(crate) fn wants_samples(&self) -> bool {
        self.answers.wants_samples()
    }

    /// Makes every transition that fell due, each at the instant at which it fell due. The answers of a circuit therefore
    /// do not depend on when, or how often, it is read.
    pub(crate) fn advance(&mut self, now: Instant) -> Vec<EventKind> {
        let mut events = Vec::new();
        while let Some(due) = self.next_timeout().filter(|due| *due <= now) {
            events.extend(self.on_timeout(due));
        }
        events
    }

    /// Sets the state by hand, or returns the circuit to its own control: closed, with empty counts.
    pub(crate) fn take_over(&mut self, to: Override, now: Instant) -> EventKind {
        let health = Health::new(&self.config, now);
        let phase = match to {
            Override::Automatic => {
                self.backoff = OpenBackoff::default();
                Phase::Closed(health)
            }
            Override::ForcedOpen => Phase::ForcedOpen,
            Override::ForcedClosed => Phase::ForcedClosed(health),
            Override::Disabled => Phase::Disabled,
            Override::Shadow => Phase::Shadow { health, open_until: None },
        };
        self.enter(phase, now)
    }

    /// Replaces the numbers. The window keeps its calls, an open period its end, and a half-open circuit its probes.
    pub(crate) fn update(&mut self, config: CircuitBreakerConfig, now: Instant) -> Option<EventKind> {
        self.config = config;
        if let Some(health) = self.phase.health_mut() {
            health.resize(&config, now);
        }
        self.follow_probes(None, now)
    }

    /// Whether a reserved place is still there.
    pub(crate) fn holds(&self, permit: Permit) -> bool {
        permit.generation == self.generation
            && match (&self.phase, permit.probe) {
                (Phase::HalfOpen { probes, .. }, Some(id)) => probes.holds(id),
                _ => true,
            }
    }

    /// The rejection that every call gets now. Takes nothing.
    pub(crate) fn peek(&self, now: Instant) -> Option<Refusal> {
        self.phase.refusal(&self.config, now)
    }

    /// When time alone brings something about.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.phase.next_timeout(&self.config)
    }

    /// When to ask again after a refusal. A ramp admits more and more calls, so not only at its end.
    pub(crate) fn ask_again_at(&self, now: Instant) -> Option<Instant> {
        let end = self.next_timeout()?;
        match &self.phase {
            Phase::Ramping { .. } => Some(end.min(after(now, self.config.ramp / RAMP_TRIES))),
            _ => Some(end),
        }
    }

    /// Whether the circuit of a key can be evicted without loss: it is closed, with hardly any failure, or it was idle
    /// for so long that its failures no longer count. A state that was set by hand is never evicted.
    pub(crate) fn is_evictable(&mut self, forgiven: bool, now: Instant) -> bool {
        let ramped = self.next_timeout().is_some_and(|end| now >= end);
        let snapshot = self.snapshot(now);
        let bad = snapshot.window_failures.max(snapshot.window_slow);
        let healthy = snapshot.consecutive_failures == 0 && bad.saturating_mul(10) <= snapshot.window_calls;
        match snapshot.state {
            CircuitState::Closed => forgiven || healthy,
            CircuitState::Ramping => forgiven || (healthy && ramped),
            CircuitState::Open | CircuitState::HalfOpen => forgiven,
            _ => false,
        }
    }

    pub(crate) fn fast_mode(&self) -> FastMode {
        self.phase.fast_mode(&self.config)
    }

    pub(crate) const fn config(&self) -> &CircuitBreakerConfig {
        &self.config
    }

    pub(crate) const fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) const fn state(&self) -> CircuitState {
        self.phase.name()
    }

    pub(crate) fn snapshot(&mut self, now: Instant) -> CircuitBreakerSnapshot {
        let (tally, consecutive_failures) = match self.phase.health_mut() {
            Some(health) => {
                health.advance(now);
                (health.tally(), health.consecutive())
            }
            None => (Tally::default(), 0),
        };
        let judged = tally.total > 0 && tally.total >= health::min_requests(&self.config);
        let open_until = if let Phase::Open { until, .. } = &self.phase { Some(*until) } else { None };
        CircuitBreakerSnapshot {
            state: self.state(),
            generation: self.generation,
            last_trip: self.last_trip,
            retry_after: open_until.map(|until| until.saturating_duration_since(now)),
            window_calls: tally.total,
            window_failures: tally.failed,
            window_slow: tally.slow,
            failure_rate: judged.then(|| tally.failure_rate()),
            slow_call_rate: judged.then(|| tally.slow_rate()),
            consecutive_failures,
            counts: self.counts,
        }
    }

    /// The step that falls due at this instant.
    fn on_timeout(&mut self, due: Instant) -> Option<EventKind> {
        match &mut self.phase {
            Phase::Open { .. } => {
                Some(self.enter(Phase::HalfOpen { probes: Probes::default(), since: due }, due))
            }
            Phase::HalfOpen { probes, .. } => {
                probes.expire(&self.config, due);
                self.follow_probes(None, due)
            }
            Phase::Ramping { health, .. } => {
                let health = health.clone();
                Some(self.enter(Phase::Closed(health), due))
            }
            Phase::Shadow { open_until, .. } => {
                *open_until = None;
                self.backoff.closed(due);
                None
            }
            Phase::Closed(_) | Phase::ForcedOpen | Phase::ForcedClosed(_) | Phase::Disabled => None,
        }
    }

    /// Every transition goes through here. Calls in flight belong to the generation that ends.
    fn enter(&mut self, phase: Phase, now: Instant) -> EventKind {
        let from = self.state();
        self.phase = phase;
        self.generation = self.generation.wrapping_add(1);
        self.answers.resume(now);
        let trip = match &self.phase {
            Phase::Open { trip, .. } => Some(*trip),
            Phase::ForcedOpen => Some(Trip::ByHand),
            _ => None,
        };
        let (to, generation) = (self.state(), self.generation);
        EventKind::CircuitChanged(CircuitTransition { from, to, generation, trip })
    }

    fn open(&mut self, trip: Trip, hint: Option<Duration>, now: Instant) -> EventKind {
        let until = self.backoff.open(&self.config, hint, self.rng.random(), now);
        if let Phase::Shadow { health, open_until } = &mut self.phase {
            *health = Health::new(&self.config, now);
            *open_until = Some(until);
            self.counts.would_trips += 1;
            return EventKind::CircuitWouldTrip(trip);
        }
        self.counts.trips += 1;
        self.last_trip = Some(trip);
        self.enter(Phase::Open { until, trip }, now)
    }

    /// Closes or opens the circuit if its probes have come to a result. `hint` is the time that the last one asked for.
    fn follow_probes(&mut self, hint: Option<Duration>, now: Instant) -> Option<EventKind> {
        let Phase::HalfOpen { probes, since } = &self.phase else { return None };
        let silent = now.saturating_duration_since(*since) >= self.answers.half_open_patience();
        match probes.result(&self.config, silent)? {
            ProbeResult::Healthy => {
                self.backoff.closed(now);
                let health = Health::new(&self.config, now);
                let ramping = !self.config.ramp.is_zero();
                let phase =
                    if ramping { Phase::Ramping { health, since: now } } else { Phase::Closed(health) };
                Some(self.enter(phase, now))
            }
            ProbeResult::Unhealthy { failed, of } => {
                Some(self.open(Trip::Probes { failed, total: of }, hint, now))
            }
        }
    }
}

/// The ratio of calls that a ramp begins with.
const RAMP_START: f64 = 0.1;
/// How often a caller that waits asks again in the course of a ramp.
const RAMP_TRIES: u32 = 20;
