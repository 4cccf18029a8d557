//! The hold on a circuit that users and services have.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

use super::{
    admission::Admission,
    config::CircuitBreakerConfig,
    permit::{Override, Refusal},
    shared::{Circuit, Owner},
    snapshot::CircuitBreakerSnapshot,
};
use crate::{
    call::{ConfigError, Rejected},
    rt::sync::thread_number,
    telemetry::{CircuitState, EventKind, Listener, Listeners, Name},
};

/// A hold on a running circuit breaker: look at it, take it in hand, change its numbers.
///
/// # Clone
///
/// Clones, and all services and handles of one layer, share one circuit.
#[derive(Clone)]
pub struct CircuitBreakerHandle {
    circuit: &'static Circuit,
    lease: Arc<Lease>,
}

/// Gives the circuit up when the last handle and the last service are gone.
struct Lease {
    circuit: &'static Circuit,
    owner: Arc<Owner>,
}

impl CircuitBreakerHandle {
    pub(super) fn new(config: CircuitBreakerConfig, name: Name, listeners: Listeners) -> Self {
        let owner = Arc::new(Owner { name, listeners: Mutex::new(listeners), changed: Arc::default() });
        let circuit = Circuit::acquire(config, Arc::clone(&owner));
        Self { circuit, lease: Arc::new(Lease { circuit, owner }) }
    }

    /// The layer's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.lease.owner.name
    }

    /// What the circuit does with calls at the moment.
    #[must_use]
    pub fn state(&self) -> CircuitState {
        self.circuit.ask(|state, _, _| (state.state(), None))
    }

    /// The state and all counts, taken at one instant.
    #[must_use]
    pub fn snapshot(&self) -> CircuitBreakerSnapshot {
        self.circuit.ask(|state, _, now| (state.snapshot(now), None))
    }

    /// The numbers in force.
    #[must_use]
    pub fn config(&self) -> CircuitBreakerConfig {
        self.circuit.ask(|state, _, _| (*state.config(), None))
    }

    /// Puts other numbers in force at once. What the window holds is kept.
    ///
    /// They are checked by themselves. In a stack, what they are to the numbers of other stages is not checked again.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule; nothing has changed then.
    pub fn update(&self, config: CircuitBreakerConfig) -> Result<(), ConfigError> {
        config.check()?;
        self.circuit.ask(|state, _, now| {
            state.update(config, now);
            ((), Some(EventKind::Reconfigured))
        });
        Ok(())
    }

    /// Tells one more listener of every transition, from now on.
    pub fn listen(&self, listener: impl Listener) {
        let mut listeners = self.lease.owner.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.add(Arc::new(listener));
    }

    /// Rejects every call until somebody says otherwise.
    pub fn force_open(&self) {
        self.take_over(Override::ForcedOpen);
    }

    /// Lets every call pass until somebody says otherwise; calls are counted, and nothing trips.
    pub fn force_close(&self) {
        self.take_over(Override::ForcedClosed);
    }

    /// Lets every call pass, and gives none a vote.
    pub fn disable(&self) {
        self.take_over(Override::Disabled);
    }

    /// Lets every call pass, and says in an event when it would have opened.
    pub fn shadow(&self) {
        self.take_over(Override::Shadow);
    }

    /// Hands the circuit back to itself: closed, with nothing held against the peer.
    pub fn reset(&self) {
        self.take_over(Override::Automatic);
    }

    /// Whether every call passes now. Takes and counts nothing.
    #[inline]
    pub(super) fn is_free(&self) -> bool {
        self.circuit.pass().is_some()
    }

    /// Whether a service would certainly turn a call away now. Takes and counts nothing.
    pub(super) fn peek(&self) -> Option<Refusal> {
        self.circuit.peek()
    }

    /// Lets a call pass, or says why not; a call turned away is not counted yet.
    #[inline]
    pub(super) fn admit(&self) -> Result<Admission, Refusal> {
        Admission::admit(self.circuit)
    }

    /// Keeps a place for a call that may come, or says why not.
    pub(super) fn reserve(&self) -> Result<Admission, Refusal> {
        Admission::reserve(self.circuit)
    }

    /// Counts a call as turned away.
    pub(super) fn reject(&self, refusal: Refusal) -> Rejected {
        self.circuit.count_rejected(thread_number());
        Rejected::new(self.name().clone(), refusal.reason).at(refusal.retry_at)
    }

    /// When it is worth asking again after a refusal, if nothing happens before.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.circuit.ask(|state, _, now| (state.ask_again_at(now), None))
    }

    /// Told whenever a call that waits might pass for another reason than time.
    pub(super) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.lease.owner.changed)
    }

    /// Whether it could be forgotten. It emits nothing, so that it may be asked under a lock that a listener might want.
    pub(super) fn is_forgettable(&self, forgiven: bool) -> bool {
        self.circuit.look(|state, now| state.is_forgettable(forgiven, now))
    }

    fn take_over(&self, to: Override) {
        self.circuit.ask(|state, _, now| ((), Some(state.take_over(to, now))));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.circuit.release();
    }
}

impl fmt::Debug for CircuitBreakerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerHandle").field("name", self.name()).finish_non_exhaustive()
    }
}
