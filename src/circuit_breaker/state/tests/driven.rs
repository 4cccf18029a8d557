//! A machine with its clock, for tests: the work of the shell in one place.

use std::time::{Duration, Instant};

use crate::{
    call::{ErrorClass, Outcome},
    circuit_breaker::{
        config::CircuitBreakerConfig,
        snapshot::CircuitBreakerSnapshot,
        state::{Ending, Override, Permit, Refusal, State, Timing},
    },
    rt::clock::epoch,
    telemetry::{CircuitState, EventKind},
};

#[derive(Debug)]
pub(in crate::circuit_breaker::state) struct Driven {
    pub(in crate::circuit_breaker::state) state: State,
    pub(in crate::circuit_breaker::state) now: Instant,
    pub(in crate::circuit_breaker::state) events: Vec<EventKind>,
}

impl Driven {
    pub(in crate::circuit_breaker::state) fn new(config: CircuitBreakerConfig) -> Self {
        config.check().expect("the test's config is valid");
        let state = State::new(config, PATIENCE, SEED, epoch());
        Self { state, now: epoch(), events: Vec::new() }
    }

    pub(in crate::circuit_breaker::state) fn wait(&mut self, delay: Duration) {
        self.now += delay;
    }

    /// Lets time bring about what it does, as the shell does before anything else.
    pub(in crate::circuit_breaker::state) fn tick(&mut self) -> CircuitState {
        self.events.extend(self.state.advance(self.now));
        self.state.state()
    }

    pub(in crate::circuit_breaker::state) fn admit(&mut self) -> Result<Permit, Refusal> {
        self.tick();
        self.state.admit(self.now)
    }

    pub(in crate::circuit_breaker::state) fn end(&mut self, permit: Permit, ending: Ending) -> CircuitState {
        self.tick();
        self.events.extend(self.state.record(permit, ending, self.now));
        self.state.state()
    }

    /// A call that is over at once. Whether it was admitted.
    pub(in crate::circuit_breaker::state) fn call(&mut self, ending: Ending) -> bool {
        let permit = self.admit();
        permit.is_ok_and(|permit| {
            self.end(permit, ending);
            true
        })
    }

    pub(in crate::circuit_breaker::state) fn calls(&mut self, count: usize, ending: Ending) {
        for _ in 0..count {
            self.call(ending);
        }
    }

    pub(in crate::circuit_breaker::state) fn take_over(&mut self, to: Override) {
        self.tick();
        let event = self.state.take_over(to, self.now);
        self.events.push(event);
    }

    pub(in crate::circuit_breaker::state) fn snapshot(&mut self) -> CircuitBreakerSnapshot {
        self.tick();
        self.state.snapshot(self.now)
    }
}

pub(in crate::circuit_breaker::state) const SUCCESS: Ending = done(Outcome::Success, false);
pub(in crate::circuit_breaker::state) const SLOW: Ending = done(Outcome::Success, true);
pub(in crate::circuit_breaker::state) const IGNORED: Ending = done(Outcome::Ignored, false);
pub(in crate::circuit_breaker::state) const FAILURE: Ending = failure(ErrorClass::Server);
pub(in crate::circuit_breaker::state) const ANSWERED: Ending = failure(ErrorClass::Validation);
pub(in crate::circuit_breaker::state) const RATE_LIMITED: Ending = failure(ErrorClass::RateLimit);

pub(in crate::circuit_breaker::state) const fn failure(class: ErrorClass) -> Ending {
    done(Outcome::failure(class), false)
}

pub(in crate::circuit_breaker::state) const fn done(outcome: Outcome, slow: bool) -> Ending {
    Ending::Done { outcome, slow, timing: NO_TIMING }
}

const NO_TIMING: Timing = Timing { waiting_since: None, deadline: None };

/// A call that was dropped without a vote, because the backend did not have the request yet.
pub(in crate::circuit_breaker::state) const DROPPED: Ending = Ending::Dropped(NO_TIMING);

pub(in crate::circuit_breaker::state) const PATIENCE: Duration = Duration::from_secs(1);
pub(in crate::circuit_breaker::state) const SEED: u64 = 7;
