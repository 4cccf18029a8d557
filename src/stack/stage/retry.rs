//! The retry of a stack, with one state or with state per key.

use std::{fmt::Display, hash::Hash, sync::Arc};

use super::{Common, HasHandle, OptionalStage, Stage};
use crate::{
    circuit_breaker::KeyedCircuitBreakerHandle,
    retry::{KeyedRetryHandle, KeyedRetryLayer, RetryConfig, RetryHandle, RetryLayer},
    retry_budget::{BudgetsPerKey, RetryBudget},
    stack::{per_key::PerKey, plan::StageKey},
};

impl<P: Clone, Q> Stage<Self, P, Q> for RetryConfig {
    type Layer = RetryLayer<P>;

    fn config(&self) -> Option<Self> {
        Some(*self)
    }

    fn assemble(self, name: &'static str, common: &Common<P, Q>) -> Self::Layer {
        // The hedge is the inner layer of the two, so it records the attempts.
        let budget =
            if common.plan.hedge.is_some() { common.budget.withdraw_only() } else { common.budget.clone() };
        // The deadline of the request says the same, but only if the protocol has a place for it.
        let layer = RetryLayer::checked(self)
            .within(common.plan.timeout.map(|timeout| timeout.limit()))
            .protocol(common.protocol.clone())
            .budget(budget)
            .joined(common.name(name), &common.listeners);
        if common.plan.circuit_breaker.is_none() || self.reaches_other_endpoints() {
            return layer;
        }
        // The stages are assembled from the outside in, so the breaker's handle does not exist yet.
        let circuit = Arc::clone(&common.circuit);
        layer.stop_while(move || circuit.get().is_some_and(|handle| handle.state().is_open()))
    }
}

impl<P: Clone, Q> OptionalStage<Self, P, Q> for RetryConfig {
    fn absent(common: &Common<P, Q>) -> Self::Layer {
        RetryLayer::checked(Self::new().max_attempts(1))
            .protocol(common.protocol.clone())
            .budget(RetryBudget::unlimited())
    }
}

impl<K, F, P, Q> Stage<RetryConfig, P, Q> for PerKey<RetryConfig, K, F>
where
    K: Hash + Eq + Clone + Display + Send + Sync + 'static,
    P: Clone,
{
    type Layer = KeyedRetryLayer<K, F, P>;

    fn config(&self) -> Option<RetryConfig> {
        Some(self.config)
    }

    fn key(&self) -> Option<StageKey> {
        Some(self.stage_key())
    }

    fn assemble(self, name: &'static str, common: &Common<P, Q>) -> Self::Layer {
        // The stages are assembled from the outside in, so the breaker's handle does not exist yet.
        let (circuits, circuit) = (Arc::clone(&common.circuits), Arc::clone(&common.circuit));
        let mut retry = self.config.assemble(name, common).keyed_by(self.key).max_keys(self.max_keys);
        if let Some(hedge) = common.plan.keys.hedge {
            let budgets = BudgetsPerKey::new(self.max_keys.saturating_add(hedge.max_keys));
            retry = retry.budgets(budgets.clone());
            common.budgets.get_or_init(|| Box::new(budgets));
        }
        if self.config.reaches_other_endpoints() {
            return retry;
        }
        retry.stop_while(move |key| {
            let keyed: Option<&KeyedCircuitBreakerHandle<K>> =
                circuits.get().and_then(|handle| handle.downcast_ref());
            let circuit = keyed.map_or_else(|| circuit.get().cloned(), |handle| handle.get(key));
            circuit.is_some_and(|circuit| circuit.state().is_open())
        })
    }
}

impl<K, F, P, Q> OptionalStage<RetryConfig, P, Q> for PerKey<RetryConfig, K, F>
where
    Self: Stage<RetryConfig, P, Q, Layer = KeyedRetryLayer<K, F, P>>,
    P: Clone,
{
    fn absent(common: &Common<P, Q>) -> Self::Layer {
        RetryConfig::absent(common).without_keys()
    }
}

impl<P, Q> HasHandle for RetryLayer<P, Q> {
    type Handle = RetryHandle;

    fn handle(&self) -> RetryHandle {
        RetryLayer::handle(self)
    }
}

impl<K, F, P, Q> HasHandle for KeyedRetryLayer<K, F, P, Q> {
    type Handle = KeyedRetryHandle<K>;

    fn handle(&self) -> KeyedRetryHandle<K> {
        KeyedRetryLayer::handle(self)
    }
}
