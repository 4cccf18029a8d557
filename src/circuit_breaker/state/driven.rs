//! A machine with its clock and its dice, for tests: what the shell does around it, in one place.

use std::time::{Duration, Instant};

use rand::{SeedableRng, rngs::StdRng};

use super::{
    super::{
        config::CircuitBreakerConfig,
        permit::{Ending, Override, Permit, Refusal},
        snapshot::CircuitBreakerSnapshot,
    },
    State,
};
use crate::{CircuitState, ErrorClass, EventKind, Outcome, clock::epoch};

#[derive(Debug)]
pub(super) struct Driven {
    pub(super) state: State,
    pub(super) rng: StdRng,
    pub(super) now: Instant,
    pub(super) events: Vec<EventKind>,
}

impl Driven {
    pub(super) fn new(config: CircuitBreakerConfig) -> Self {
        config.check().expect("the test's config is valid");
        let state = State::new(config, 0, epoch());
        Self { state, rng: StdRng::seed_from_u64(SEED), now: epoch(), events: Vec::new() }
    }

    pub(super) fn wait(&mut self, delay: Duration) {
        self.now += delay;
    }

    /// Lets time bring about what it does, as the shell does before anything else.
    pub(super) fn tick(&mut self) -> CircuitState {
        self.events.extend(self.state.on_timeout(&mut self.rng, self.now));
        self.state.state()
    }

    pub(super) fn admit(&mut self) -> Result<Permit, Refusal> {
        self.tick();
        self.state.admit(&mut self.rng, self.now)
    }

    pub(super) fn end(&mut self, permit: Permit, ending: Ending) -> CircuitState {
        self.tick();
        self.events.extend(self.state.record(permit, ending, &mut self.rng, self.now));
        self.state.state()
    }

    /// A call that is over at once. Whether it was admitted.
    pub(super) fn call(&mut self, ending: Ending) -> bool {
        let permit = self.admit();
        permit.is_ok_and(|permit| {
            self.end(permit, ending);
            true
        })
    }

    pub(super) fn calls(&mut self, count: usize, ending: Ending) {
        for _ in 0..count {
            self.call(ending);
        }
    }

    pub(super) fn take_over(&mut self, to: Override) {
        self.tick();
        let event = self.state.take_over(to, self.now);
        self.events.push(event);
    }

    pub(super) fn snapshot(&mut self) -> CircuitBreakerSnapshot {
        self.tick();
        self.state.snapshot(self.now)
    }
}

pub(super) const SUCCESS: Ending = Ending::Done { outcome: Outcome::Success, slow: false };
pub(super) const SLOW: Ending = Ending::Done { outcome: Outcome::Success, slow: true };
pub(super) const IGNORED: Ending = Ending::Done { outcome: Outcome::Ignored, slow: false };
pub(super) const FAILURE: Ending = failure(ErrorClass::Server);
pub(super) const ANSWERED: Ending = failure(ErrorClass::Validation);
pub(super) const REFUSED: Ending = failure(ErrorClass::RateLimit);

pub(super) const fn failure(class: ErrorClass) -> Ending {
    Ending::Done { outcome: Outcome::failure(class), slow: false }
}

pub(super) const SEED: u64 = 7;
