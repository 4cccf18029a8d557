//! One circuit as all threads share it.

use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::fast_path::FastPath;
use crate::{
    call::Rejected,
    circuit_breaker::{
        config::CircuitBreakerConfig,
        state::{Ending, Permit, Refusal, State},
    },
    rt::{
        clock,
        sync::{Mutex, lock, thread_number},
    },
    telemetry::{Emitter, EventKind},
};

/// The machine of one circuit, and everything that the calls through it share.
#[derive(Debug)]
pub(crate) struct Circuit {
    pub(crate) fast_path: FastPath,
    state: Mutex<State>,
    pub(crate) emitter: Emitter,
    /// Notified whenever a call that waits might pass for another reason than time.
    pub(super) changed: std::sync::Arc<Notify>,
}

impl Circuit {
    pub(crate) fn new(config: CircuitBreakerConfig, patience: Duration, emitter: Emitter) -> Self {
        let now = clock::now();
        let circuit = Self {
            fast_path: FastPath::new(now),
            state: Mutex::new(State::new(config, patience, rand::random(), now)),
            emitter,
            changed: std::sync::Arc::default(),
        };
        circuit.look(|_, _| ());
        circuit
    }

    /// Admits a call that is made at once.
    #[inline]
    pub(crate) fn admit(&self) -> Result<Permit, Refusal> {
        self.fast_path.pass().map_or_else(|| self.ask_to_pass(State::admit), Ok)
    }

    /// Asks the machine to [admit](State::admit) a call, or to [reserve](State::reserve) a place.
    #[cold]
    pub(super) fn ask_to_pass(
        &self,
        question: fn(&mut State, Instant) -> Result<Permit, Refusal>,
    ) -> Result<Permit, Refusal> {
        match self.fast_path.refusal(clock::now) {
            Some(refusal) => Err(refusal),
            None => self.ask(|state, now| (question(state, now), None)),
        }
    }

    /// The call for which a place was reserved has come.
    #[cold]
    pub(super) fn begin(&self, permit: Permit) {
        self.ask(|state, now| (state.begin(permit, now), None));
    }

    /// Whether a reserved place is still there.
    pub(super) fn holds(&self, permit: Permit) -> bool {
        match permit.probe {
            None => self.fast_path.generation() == permit.generation,
            Some(_) => self.ask(|state, _| (state.holds(permit), None)),
        }
    }

    /// The rejection that every call gets now. Takes and counts nothing.
    #[cold]
    pub(crate) fn peek(&self) -> Option<Refusal> {
        self.fast_path.refusal(clock::now).or_else(|| self.ask(|state, now| (state.peek(now), None)))
    }

    /// Counts a call as rejected.
    pub(crate) fn reject(&self, refusal: Refusal) -> Rejected {
        self.fast_path.count_rejected(thread_number());
        Rejected::new(self.emitter.name().clone(), refusal.reason).at(refusal.retry_at)
    }

    /// A successful call had to wait this long.
    #[cold]
    pub(super) fn sample_wait(&self, waited: Duration) {
        let mut state = lock(&self.state);
        state.sample_wait(waited);
        self.fast_path.sample_every_call(state.wants_samples());
    }

    /// Counts how a call ended.
    #[cold]
    pub(super) fn record(&self, permit: Permit, ending: Ending) {
        self.ask(|state, now| ((), state.record(permit, ending, now)));
        if permit.probe.is_some() {
            // The place of the probe is free again, whether or not that changed anything else.
            self.changed.notify_waiters();
        }
    }

    /// Asks the machine, or tells it something. Time passes for the machine first, and events are emitted afterwards.
    pub(crate) fn ask<T>(&self, question: impl FnOnce(&mut State, Instant) -> (T, Option<EventKind>)) -> T {
        let mut events = Vec::new();
        let answer = self.look(|state, now| {
            events = state.advance(now);
            let (answer, event) = question(state, now);
            events.extend(event);
            answer
        });
        if !events.is_empty() {
            self.changed.notify_waiters();
            for kind in events {
                self.emitter.emit(kind);
            }
        }
        answer
    }

    /// Asks the machine as it stands, without letting time pass, and so without events.
    ///
    /// The machine sees every call that was counted without its lock before it answers, and the fast path follows the
    /// machine afterwards.
    pub(crate) fn look<T>(&self, question: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut state = lock(&self.state);
        let collected = self.fast_path.close();
        let now = clock::now();
        state.absorb(collected, now);
        let answer = question(&mut state, now);
        self.fast_path.publish(state.fast_mode(), state.generation(), state.config().slow_over());
        answer
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::{
        call::{ErrorClass, Outcome, Reason},
        circuit_breaker::state::Timing,
    };

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_half_open_circuit_whose_probes_are_out_rejects_without_its_lock() {
        let config = CircuitBreakerConfig::consecutive(1)
            .open_for(SECOND)
            .max_open_for(SECOND)
            .open_jitter(0.0)
            .probe_timeout(5 * SECOND);
        let circuit = Circuit::new(config, SECOND, Emitter::new("x"));
        let timing = Timing { waiting_since: None, deadline: None };
        let failed = Ending::Done { outcome: Outcome::failure(ErrorClass::Server), slow: false, timing };
        circuit.record(circuit.admit().expect("it is closed"), failed);
        tokio::time::advance(SECOND).await;
        let probe = circuit.admit().expect("the open period is over");

        tokio::time::advance(SECOND).await;
        let retry_at = Some(clock::now() + SECOND);
        let refusal = circuit.fast_path.refusal(clock::now);
        assert_eq!(refusal, Some(Refusal { reason: Reason::ProbesTaken, retry_at }));
        tokio::time::advance(4 * SECOND).await;
        assert_eq!(circuit.fast_path.refusal(clock::now), None, "the probe's time is over");
        circuit.record(probe, Ending::Withdrawn);
    }
}
