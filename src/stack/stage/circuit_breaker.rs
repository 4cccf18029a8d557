//! The breaker of a stack, with one circuit or with a circuit per key.

use super::{Common, HasHandle, OptionalStage, Stage};
use crate::{
    call::Protocol,
    circuit_breaker::{
        CircuitBreakerConfig, CircuitBreakerHandle, CircuitBreakerLayer, KeyedCircuitBreakerHandle,
        KeyedCircuitBreakerLayer,
    },
    stack::{per_key::PerKey, plan::StageKey},
};

impl<C: Clone, R, D: Clone, Q> Stage<Self, Protocol<C, R, D>, Q> for CircuitBreakerConfig {
    type Layer = CircuitBreakerLayer<C, D>;

    fn config(&self) -> Option<Self> {
        Some(*self)
    }

    fn assemble(self, name: &'static str, common: &Common<Protocol<C, R, D>, Q>) -> Self::Layer {
        let layer = breaker(self, name, common);
        common.circuit.get_or_init(|| layer.handle());
        layer
    }
}

impl<C: Clone, R, D: Clone, Q> OptionalStage<Self, Protocol<C, R, D>, Q> for CircuitBreakerConfig {
    fn absent(common: &Common<Protocol<C, R, D>, Q>) -> Self::Layer {
        CircuitBreakerLayer::checked(Self::new())
            .classify(common.protocol.classifier.clone())
            .deadlines(common.protocol.deadlines.clone())
            .absent()
    }
}

/// The breaker of a stack, before it has a circuit.
fn breaker<C: Clone, R, D: Clone, Q>(
    config: CircuitBreakerConfig,
    name: &'static str,
    common: &Common<Protocol<C, R, D>, Q>,
) -> CircuitBreakerLayer<C, D> {
    // The plan has adapted its defaults to the other stages.
    let layer = CircuitBreakerLayer::checked(common.plan.circuit_breaker.unwrap_or(config))
        .classify(common.protocol.classifier.clone())
        .deadlines(common.protocol.deadlines.clone())
        .joined(common.name(name), &common.listeners);
    let timeouts = [common.plan.timeout, common.plan.attempt_timeout].into_iter().flatten();
    timeouts.fold(layer, |layer, timeout| layer.patience(timeout.limit()))
}

impl<K, F, C, R, D, Q> Stage<CircuitBreakerConfig, Protocol<C, R, D>, Q>
    for PerKey<CircuitBreakerConfig, K, F>
where
    K: Send + Sync + 'static,
    C: Clone,
    D: Clone,
{
    type Layer = KeyedCircuitBreakerLayer<K, F, C, D>;

    fn config(&self) -> Option<CircuitBreakerConfig> {
        Some(self.config)
    }

    fn key(&self) -> Option<StageKey> {
        Some(self.stage_key())
    }

    fn assemble(self, name: &'static str, common: &Common<Protocol<C, R, D>, Q>) -> Self::Layer {
        let breaker = breaker(self.config, name, common);
        let layer = breaker.keyed_by(self.key).max_keys(self.max_keys);
        common.circuits.get_or_init(|| Box::new(layer.handle()));
        layer
    }
}

impl<K, F, C, R, D, Q> OptionalStage<CircuitBreakerConfig, Protocol<C, R, D>, Q>
    for PerKey<CircuitBreakerConfig, K, F>
where
    K: Send + Sync + 'static,
    C: Clone,
    D: Clone,
{
    fn absent(common: &Common<Protocol<C, R, D>, Q>) -> Self::Layer {
        CircuitBreakerConfig::absent(common).without_keys()
    }
}

impl<C, D> HasHandle for CircuitBreakerLayer<C, D> {
    type Handle = CircuitBreakerHandle;

    fn handle(&self) -> CircuitBreakerHandle {
        CircuitBreakerLayer::handle(self)
    }
}

impl<K, F, C, D> HasHandle for KeyedCircuitBreakerLayer<K, F, C, D> {
    type Handle = KeyedCircuitBreakerHandle<K>;

    fn handle(&self) -> KeyedCircuitBreakerHandle<K> {
        KeyedCircuitBreakerLayer::handle(self)
    }
}
