//! The concurrency limit of a stack.

use super::{Common, HasHandle, OptionalStage, Stage};
use crate::{
    call::Protocol,
    concurrency_limit::{ConcurrencyLimitConfig, ConcurrencyLimitHandle, ConcurrencyLimitLayer},
};

impl<C: Clone, R, D: Clone, Q: Clone> Stage<Self, Protocol<C, R, D>, Q> for ConcurrencyLimitConfig {
    type Layer = ConcurrencyLimitLayer<C, Q, D>;

    fn config(&self) -> Option<Self> {
        Some(*self)
    }

    fn assemble(self, name: &'static str, common: &Common<Protocol<C, R, D>, Q>) -> Self::Layer {
        layer(self, common).joined(common.name(name), &common.listeners)
    }
}

impl<C: Clone, R, D: Clone, Q: Clone> OptionalStage<Self, Protocol<C, R, D>, Q> for ConcurrencyLimitConfig {
    fn absent(common: &Common<Protocol<C, R, D>, Q>) -> Self::Layer {
        layer(Self::new(1), common).absent()
    }
}

/// The limit of a stack, with the behaviour that its stages share.
fn layer<C: Clone, R, D: Clone, Q: Clone>(
    config: ConcurrencyLimitConfig,
    common: &Common<Protocol<C, R, D>, Q>,
) -> ConcurrencyLimitLayer<C, Q, D> {
    ConcurrencyLimitLayer::checked(config)
        .classify(common.protocol.classifier.clone())
        .priority(common.priorities.clone())
        .deadlines(common.protocol.deadlines.clone())
}

impl<C, Q, D> HasHandle for ConcurrencyLimitLayer<C, Q, D> {
    type Handle = ConcurrencyLimitHandle;

    fn handle(&self) -> ConcurrencyLimitHandle {
        ConcurrencyLimitLayer::handle(self)
    }
}
