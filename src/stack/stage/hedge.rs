//! The hedge of a stack.

use super::{Common, HasHandle, OptionalStage, Stage};
use crate::{
    hedge::{HedgeConfig, HedgeHandle, HedgeLayer},
    retry_budget::RetryBudget,
};

impl<P: Clone, Q> Stage<Self, P, Q> for HedgeConfig {
    type Layer = HedgeLayer<P>;

    fn config(&self) -> Option<Self> {
        Some(*self)
    }

    fn assemble(self, name: &'static str, common: &Common<P, Q>) -> Self::Layer {
        // A hedge would meet the same open circuit: every attempt of the stack passes this one breaker.
        let config = if common.plan.circuit_breaker.is_some() { self.no_other_endpoints() } else { self };
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

impl<P, K> HasHandle for HedgeLayer<P, K> {
    type Handle = HedgeHandle;

    fn handle(&self) -> HedgeHandle {
        HedgeLayer::handle(self)
    }
}
