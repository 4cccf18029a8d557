//! A circuit as all threads share it: the state behind its lock, and the gate in front of that.
//!
//! A call in flight refers to its circuit by a plain reference. Counting references would cost every call two
//! writes to memory that other cores write too, which is most of what a breaker costs. So a circuit is never freed;
//! it is reused when its last handle is gone, and its generation goes on, so that whatever is still in flight for
//! the former owner has no vote. There are as many of them as were ever in use at the same time.

use std::{
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::{Duration, Instant},
};

use rand::rngs::ThreadRng;
use tokio::sync::Notify;

use super::{
    alarm::Alarm,
    config::CircuitBreakerConfig,
    gate::PublishedGate,
    permit::{Ending, Permit, Refusal},
    state::State,
};
use crate::{
    rt::{
        clock,
        sync::{Mutex, lock, thread_number},
    },
    telemetry::{EventKind, Listeners, Name},
};

#[derive(Debug)]
pub(super) struct Circuit {
    gate: PublishedGate,
    inside: Mutex<Inside>,
}

#[derive(Debug)]
struct Inside {
    state: State,
    /// `None` while nobody uses it.
    owner: Option<Arc<Owner>>,
    /// Set while the circuit is open.
    alarm: Option<Alarm>,
}

/// Whom a circuit works for.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) name: Name,
    pub(super) listeners: StdMutex<Listeners>,
    pub(super) changed: Arc<Notify>,
}

impl Circuit {
    /// A circuit that nobody else uses.
    pub(super) fn acquire(config: CircuitBreakerConfig, owner: Arc<Owner>) -> &'static Self {
        let reused = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let circuit = reused.unwrap_or_else(|| Box::leak(Box::new(Self::unused())));
        circuit.ask_inside(|inside, _, now| {
            inside.state = State::new(config, inside.state.generation().wrapping_add(1), now);
            inside.owner = Some(owner);
            ((), None)
        });
        circuit
    }

    /// Its owner is gone.
    pub(super) fn release(&'static self) {
        let mut inside = lock(&self.inside);
        self.gate.close();
        self.gate.rest_ends();
        *inside = Inside { state: inside.state.retired(clock::now()), owner: None, alarm: None };
        self.gate.publish(inside.state.gate(), inside.state.generation(), None);
        drop(inside);
        // Primitives of one shuttle execution cannot be used in the next.
        if cfg!(not(shuttle)) {
            SPARE.lock().unwrap_or_else(PoisonError::into_inner).push(self);
        }
    }

    /// The permit of a call that may pass without asking.
    #[inline]
    pub(super) fn pass(&self) -> Option<Permit> {
        self.gate.pass()
    }

    /// Lets a call pass, or says why not.
    #[cold]
    pub(super) fn ask_to_pass(&'static self) -> Result<Permit, Refusal> {
        match self.gate.turn_away(thread_number(), clock::now) {
            Some(refusal) => Err(refusal),
            None => self.ask(|state, rng, now| (state.admit(rng, now), None)),
        }
    }

    /// Keeps a place for a call that may come, or says why not.
    #[cold]
    pub(super) fn ask_to_reserve(&'static self) -> Result<Permit, Refusal> {
        match self.gate.turn_away(thread_number(), clock::now) {
            Some(refusal) => Err(refusal),
            None => self.ask(|state, rng, now| (state.reserve(rng, now), None)),
        }
    }

    /// The call for which a place was kept has come.
    #[cold]
    pub(super) fn begin(&'static self, permit: Permit) {
        self.ask(|state, _, now| (state.begin(permit, now), None));
    }

    /// Whether a place that was kept is still there.
    pub(super) fn holds(&'static self, permit: Permit) -> bool {
        match permit.probe {
            None => self.gate.generation() == permit.generation,
            Some(_) => self.ask(|state, _, _| (state.holds(permit), None)),
        }
    }

    /// Whether a call would certainly be refused. Takes nothing.
    #[cold]
    pub(super) fn peek(&'static self) -> Option<Refusal> {
        let refusal = self.gate.turn_away(thread_number(), clock::now);
        refusal.or_else(|| self.ask(|state, _, now| (state.peek(now), None)))
    }

    pub(super) fn count_rejected(&self, stripe: usize) {
        self.gate.count_rejected(stripe);
    }

    /// Counts a success that was not slow, if nobody need be asked for that.
    #[inline]
    pub(super) fn count_healthy(&self, permit: Permit, stripe: usize, now: impl FnOnce() -> Instant) -> bool {
        self.gate.count_healthy(permit, stripe, now)
    }

    /// Counts how a call ended.
    #[cold]
    pub(super) fn record(&'static self, permit: Permit, ending: Ending) {
        let changed = self.ask_inside(|inside, rng, now| {
            let change = inside.state.record(permit, ending, rng, now);
            // A probe's place is free again, whether or not that changed anything.
            let waiters = permit.probe.and(inside.owner.as_ref()).map(|owner| Arc::clone(&owner.changed));
            (waiters, change)
        });
        if let Some(waiters) = changed {
            waiters.notify_waiters();
        }
    }

    /// Above what time a call is slow; `None` where that is not asked.
    #[inline]
    pub(super) fn slow_over(&self) -> Option<Duration> {
        self.gate.slow_over()
    }

    /// Asks the state, or tells it something; see [`ask_inside`](Self::ask_inside).
    pub(super) fn ask<T>(
        &'static self,
        question: impl FnOnce(&mut State, &mut ThreadRng, Instant) -> (T, Option<EventKind>),
    ) -> T {
        self.ask_inside(|inside, rng, now| question(&mut inside.state, rng, now))
    }

    /// Asks without letting time bring anything about, and so without an event.
    pub(super) fn look<T>(&self, question: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut inside = lock(&self.inside);
        let collected = self.gate.close();
        let state = &mut inside.state;
        state.absorb(collected);
        let answer = question(state, clock::now());
        self.gate.publish(state.gate(), state.generation(), state.config().slow_over());
        answer
    }

    /// Shows the state everything that has happened, lets time pass, asks, and publishes what holds from then on.
    fn ask_inside<T>(
        &'static self,
        question: impl FnOnce(&mut Inside, &mut ThreadRng, Instant) -> (T, Option<EventKind>),
    ) -> T {
        let mut rng = rand::rng();
        let mut inside = lock(&self.inside);
        let collected = self.gate.close();
        let now = clock::now();
        inside.state.absorb(collected);
        let by_time = inside.state.on_timeout(&mut rng, now);
        let (answer, by_hand) = question(&mut inside, &mut rng, now);
        let anything = by_time.is_some() || by_hand.is_some();
        let Inside { state, alarm, .. } = &mut *inside;
        if anything {
            self.gate.rest_ends();
            *alarm = state.reopens_at().and_then(|until| Alarm::set(&self.gate, until));
        }
        self.gate.publish(state.gate(), state.generation(), state.config().slow_over());
        let owner = inside.owner.as_ref().filter(|_| anything).map(Arc::clone);
        drop(inside);

        if let Some(owner) = owner {
            owner.changed.notify_waiters();
            let listeners = owner.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for kind in [by_time, by_hand].into_iter().flatten() {
                listeners.emit(&owner.name, kind);
            }
        }
        answer
    }

    fn unused() -> Self {
        let now = clock::now();
        let state = State::new(CircuitBreakerConfig::new(), 0, now);
        Self { gate: PublishedGate::new(now), inside: Mutex::new(Inside { state, owner: None, alarm: None }) }
    }
}

/// The circuits that nobody uses at the moment.
static SPARE: StdMutex<Vec<&'static Circuit>> = StdMutex::new(Vec::new());
