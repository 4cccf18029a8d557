//! The handle of a running circuit.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    config::CircuitBreakerConfig, shared::Circuit, snapshot::CircuitBreakerSnapshot, state::Override,
};
use crate::{
    call::ConfigError,
    keyed::ConfiguredState,
    telemetry::{CircuitState, Emitter, EventKind, Listener, Name},
};

/// The handle of a running circuit breaker: reads it, sets it by hand, and changes its numbers.
///
/// Reading it changes nothing: a transition happens at the instant at which it falls due, whether or not anything looks.
///
/// # Clone
///
/// Clones, and all services and handles of one layer, share one circuit.
#[derive(Clone)]
pub struct CircuitBreakerHandle {
    pub(super) circuit: Arc<Circuit>,
}

/// Everything that a new circuit is made from.
#[derive(Clone, Debug)]
pub(super) struct CircuitSpec {
    pub(super) config: CircuitBreakerConfig,
    /// How long a call waits before it may count as unanswered, until the circuit has learnt that.
    pub(super) patience: Duration,
    pub(super) emitter: Emitter,
}

impl CircuitSpec {
    pub(super) fn new_circuit(&self, config: CircuitBreakerConfig, emitter: Emitter) -> CircuitBreakerHandle {
        let circuit = Circuit::new(config, self.patience, emitter);
        CircuitBreakerHandle { circuit: Arc::new(circuit) }
    }
}

impl CircuitBreakerHandle {
    /// The layer's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.circuit.emitter.name()
    }

    /// The state of the circuit.
    #[must_use]
    pub fn state(&self) -> CircuitState {
        self.circuit.ask(|state, _| (state.state(), None))
    }

    /// The state and all counts at one instant.
    #[must_use]
    pub fn snapshot(&self) -> CircuitBreakerSnapshot {
        self.circuit.ask(|state, now| (state.snapshot(now), None))
    }

    /// The numbers in force.
    #[must_use]
    pub fn config(&self) -> CircuitBreakerConfig {
        self.circuit.ask(|state, _| (*state.config(), None))
    }

    /// Replaces all numbers at once. The window keeps the newest calls that fit, and an open period keeps its end.
    ///
    /// The numbers are checked by themselves. In a stack, their relation to other stages is not checked again.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule. The old numbers stay in force then.
    pub fn update(&self, config: CircuitBreakerConfig) -> Result<(), ConfigError> {
        config.check()?;
        self.replace(config);
        self.circuit.ask(|_, _| ((), Some(EventKind::Reconfigured)));
        Ok(())
    }

    /// Adds a listener, which hears every event from now on.
    pub fn listen(&self, listener: impl Listener) {
        self.circuit.emitter.add(listener);
    }

    /// Rejects every call, until another state is set.
    pub fn force_open(&self) {
        self.take_over(Override::ForcedOpen);
    }

    /// Lets every call pass and counts it, until another state is set. The circuit does not open.
    pub fn force_close(&self) {
        self.take_over(Override::ForcedClosed);
    }

    /// Lets every call pass and counts none, until another state is set.
    pub fn disable(&self) {
        self.take_over(Override::Disabled);
    }

    /// Lets every call pass and counts it. An event tells when the circuit would have opened.
    pub fn shadow(&self) {
        self.take_over(Override::Shadow);
    }

    /// Returns the circuit to its own control: closed, with empty counts.
    pub fn reset(&self) {
        self.take_over(Override::Automatic);
    }

    fn take_over(&self, to: Override) {
        self.circuit.ask(|state, now| ((), Some(state.take_over(to, now))));
    }
}

impl ConfiguredState for CircuitBreakerHandle {
    type Config = CircuitBreakerConfig;

    fn replace(&self, config: CircuitBreakerConfig) {
        self.circuit.ask(|state, now| ((), state.update(config, now)));
    }
}

impl fmt::Debug for CircuitBreakerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerHandle").field("name", self.name()).finish_non_exhaustive()
    }
}
