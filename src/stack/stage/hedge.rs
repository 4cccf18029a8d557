//! The hedge of a stack.

use std::{fmt::Display, hash::Hash};

use super::{Common, HasHandle, OptionalStage, Stage};
use crate::{
    hedge::{HedgeConfig, HedgeHandle, HedgeLayer, KeyedHedgeHandle, KeyedHedgeLayer},
    retry_budget::{BudgetsPerKey, RetryBudget},
    stack::{per_key::PerKey, plan::StageKey},
};

impl<P: Clone, Q> Stage<Self, P, Q> for HedgeConfig {
    type Layer = HedgeLayer<P>;

    fn config(&self) -> Option<Self> {
        Some(*self)
    }

    fn assemble(self, name: &'static str, common: &Common<P, Q>) -> Self::Layer {
        // A hedge would meet the same open circuit or empty bucket: every attempt of the stack passes these stages.
        let meets_the_same = common.plan.circuit_breaker.is_some() || common.plan.pacing.is_some();
        let config = if meets_the_same { self.no_other_endpoints() } else { self };
        HedgeLayer::checked(config)
            .protocol(common.protocol.clone())
            .budget(common.budget.clone())
            .joined(common.name(name), &common.listeners)
    }
}

impl<P: Clone, Q> OptionalStage<Self, P, Q> for HedgeConfig {
    fn absent(common: &Common<P, Q>) -> Self::Layer {
        HedgeLayer::checked(Self::new())
            .protocol(common.protocol.clone())
            .budget(RetryBudget::unlimited())
            .absent()
    }
}

impl<K, F, P, Q> Stage<HedgeConfig, P, Q> for PerKey<HedgeConfig, K, F>
where
    K: Hash + Eq + Clone + Display + Send + Sync + 'static,
    P: Clone,
{
    type Layer = KeyedHedgeLayer<K, F, P>;

    fn config(&self) -> Option<HedgeConfig> {
        Some(self.config)
    }

    fn key(&self) -> Option<StageKey> {
        Some(self.stage_key())
    }

    fn assemble(self, name: &'static str, common: &Common<P, Q>) -> Self::Layer {
        // A retry of the stack has the same key, so it has made them.
        let budgets: Option<&BudgetsPerKey<K>> = common.budgets.get().and_then(|it| it.downcast_ref());
        let hedge = self.config.assemble(name, common).keyed_by(self.key).max_keys(self.max_keys);
        hedge.budgets(budgets.cloned())
    }
}

impl<K, F, P, Q> OptionalStage<HedgeConfig, P, Q> for PerKey<HedgeConfig, K, F>
where
    Self: Stage<HedgeConfig, P, Q, Layer = KeyedHedgeLayer<K, F, P>>,
    P: Clone,
{
    fn absent(common: &Common<P, Q>) -> Self::Layer {
        HedgeConfig::absent(common).without_keys()
    }
}

impl<P, K> HasHandle for HedgeLayer<P, K> {
    type Handle = HedgeHandle;

    fn handle(&self) -> HedgeHandle {
        HedgeLayer::handle(self)
    }
}

impl<K, F, P, Q> HasHandle for KeyedHedgeLayer<K, F, P, Q> {
    type Handle = KeyedHedgeHandle<K>;

    fn handle(&self) -> KeyedHedgeHandle<K> {
        KeyedHedgeLayer::handle(self)
    }
}
