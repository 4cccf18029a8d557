//! The layer: the numbers of a circuit, and the behaviour that is attached to it.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tower_layer::Layer;

use super::{
    config::CircuitBreakerConfig,
    handle::{CircuitBreakerHandle, CircuitSpec},
    keyed::KeyedCircuitBreakerLayer,
    service::CircuitBreaker,
    state::Override,
};
use crate::{
    call::{ConfigError, NoDeadline, StandardClassifier},
    telemetry::{Emitter, Listener, Name},
};

/// Puts a [`CircuitBreaker`] around a service. Made by [`CircuitBreakerConfig::build`].
///
/// It starts no task and no timer, and runs in any runtime or none, unless it [waits](Self::wait_while_open).
///
/// # Clone
///
/// All services made by this layer and by its clones share **one** circuit: on twenty axum routes, on every
/// connection. [`isolated`](Self::isolated) gives a layer with a circuit of its own.
#[derive(Clone, Debug)]
pub struct CircuitBreakerLayer<C = StandardClassifier, D = NoDeadline> {
    spec: CircuitSpec,
    classifier: C,
    deadlines: D,
    waits: bool,
    handle: Arc<OnceLock<CircuitBreakerHandle>>,
}

impl CircuitBreakerConfig {
    /// Checks every number and makes the layer.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule.
    pub fn build(self) -> Result<CircuitBreakerLayer, ConfigError> {
        self.check()?;
        Ok(CircuitBreakerLayer::checked(self))
    }
}

impl CircuitBreakerLayer {
    /// The config has been checked.
    pub(crate) fn checked(config: CircuitBreakerConfig) -> Self {
        let emitter = Emitter::new("circuit_breaker");
        Self {
            spec: CircuitSpec { config, patience: PATIENCE, emitter },
            classifier: StandardClassifier,
            deadlines: NoDeadline,
            waits: false,
            handle: Arc::default(),
        }
    }
}

impl<C, D> CircuitBreakerLayer<C, D> {
    /// Classifies results with `classifier`. Default: [`StandardClassifier`].
    pub fn classify<C2>(self, classifier: C2) -> CircuitBreakerLayer<C2, D> {
        self.with_behaviour(|_, deadlines| (classifier, deadlines))
    }

    /// Reads from `deadlines` the deadline of each request, and how far its body has been sent.
    ///
    /// The breaker needs both to judge [cut calls](super#cut-calls). A call that ends at the caller's deadline is cut,
    /// and a request that its caller has not sent says nothing about the backend. Default: [`NoDeadline`].
    pub fn deadlines<D2>(self, deadlines: D2) -> CircuitBreakerLayer<C, D2> {
        self.with_behaviour(|classifier, _| (classifier, deadlines))
    }

    /// Names the layer in rejections and events. Default: `circuit_breaker`.
    ///
    /// Services that were made before keep the old circuit; this layer gets a circuit of its own.
    #[must_use]
    pub fn named(self, name: impl Into<Name>) -> Self {
        self.joined(name.into(), &[])
    }

    /// Adds a listener, which hears every [`Event`](crate::Event) of the circuit.
    ///
    /// Services that were made before keep the old circuit; this layer gets a circuit of its own.
    #[must_use]
    pub fn listen(self, listener: impl Listener) -> Self {
        let name = self.spec.emitter.name().clone();
        self.joined(name, &[Arc::new(listener)])
    }

    /// The layer of an optional stage that is left out: its circuit lets every call pass, and counts none.
    pub(crate) fn absent(self) -> Self {
        // Without an event, because no operator did it.
        self.handle().circuit.look(|state, now| state.take_over(Override::Disabled, now));
        self
    }

    /// The same layer under this name, with these listeners besides its own.
    pub(crate) fn joined(mut self, name: Name, listeners: &[Arc<dyn Listener>]) -> Self {
        self.spec.emitter = self.spec.emitter.joined(name, listeners);
        self.isolated()
    }

    /// Takes calls that have waited this long for unanswered, until the circuit knows how long successful calls wait.
    pub(crate) fn patience(mut self, limit: Duration) -> Self {
        self.spec.patience = self.spec.patience.min(limit);
        self.isolated()
    }

    /// Waits in `poll_ready` while the circuit is open, and rejects no call of a service that was ready.
    ///
    /// Use it inside a balancer, which then prefers other endpoints. A ready service holds its place: the place of a
    /// probe, while the circuit is half-open. In front of a single backend leave it off, so that callers learn at once.
    /// Default: off.
    ///
    /// Waiting needs a tokio runtime. Outside one, `poll_ready` returns the rejection as an error.
    ///
    /// # Panics
    ///
    /// `poll_ready` panics in a runtime without `enable_time` while it waits.
    #[must_use]
    pub fn wait_while_open(mut self) -> Self {
        self.waits = true;
        self
    }

    /// Returns the same layer with a circuit of its own.
    #[must_use]
    pub fn isolated(mut self) -> Self {
        self.handle = Arc::default();
        self
    }

    /// Keeps one circuit per key: per host, per route, per tenant.
    ///
    /// Call it last: name, listeners, classifier and deadlines are set before. The new layer has a
    /// [handle](KeyedCircuitBreakerLayer::handle) of its own; a handle from before stands for no key.
    ///
    /// A call takes a lock for a moment to find the circuit of its key. [`wait_while_open`](Self::wait_while_open) has no
    /// effect, because the breaker learns the key only with the request. A stack has
    /// such a stage: [`per_key`](CircuitBreakerConfig::per_key).
    pub fn keyed<Req, K, F>(self, key: F) -> KeyedCircuitBreakerLayer<K, F, C, D>
    where
        F: Fn(&Req) -> K,
    {
        self.keyed_by(key)
    }

    /// As [`keyed`](Self::keyed), with any [`KeySource`](crate::KeySource).
    pub(crate) fn keyed_by<K, F>(self, key: F) -> KeyedCircuitBreakerLayer<K, F, C, D> {
        KeyedCircuitBreakerLayer::new(self.spec, Some(key), self.classifier, self.deadlines)
    }

    /// The keyed layer of an optional stage that is left out: no call has a circuit.
    pub(crate) fn without_keys<K, F>(self) -> KeyedCircuitBreakerLayer<K, F, C, D> {
        KeyedCircuitBreakerLayer::new(self.spec, None, self.classifier, self.deadlines)
    }

    /// The handle of this layer's circuit.
    #[must_use]
    pub fn handle(&self) -> CircuitBreakerHandle {
        self.handle.get_or_init(|| self.spec.new_circuit(self.spec.config, self.spec.emitter.clone())).clone()
    }

    fn with_behaviour<C2, D2>(self, change: impl FnOnce(C, D) -> (C2, D2)) -> CircuitBreakerLayer<C2, D2> {
        let (classifier, deadlines) = change(self.classifier, self.deadlines);
        CircuitBreakerLayer { spec: self.spec, classifier, deadlines, waits: self.waits, handle: self.handle }
    }
}

impl<S, C: Clone, D: Clone> Layer<S> for CircuitBreakerLayer<C, D> {
    type Service = CircuitBreaker<S, C, D>;

    fn layer(&self, inner: S) -> Self::Service {
        let (classifier, deadlines) = (self.classifier.clone(), self.deadlines.clone());
        CircuitBreaker::new(inner, classifier, deadlines, self.handle().circuit, self.waits)
    }
}

/// How long a call waits before it may count as unanswered, while fewer than a hundred waits are known.
const PATIENCE: Duration = Duration::from_secs(1);
