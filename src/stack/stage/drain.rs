//! The drain of a server stack.

use super::{Common, HasHandle, OptionalStage, Stage};
use crate::{
    call::Protocol,
    drain::{DrainConfig, DrainHandle, DrainLayer},
};

impl<C: Clone, R, D, Q> Stage<Self, Protocol<C, R, D>, Q> for DrainConfig {
    type Layer = DrainLayer<C>;

    fn config(&self) -> Option<Self> {
        Some(*self)
    }

    fn assemble(self, name: &'static str, common: &Common<Protocol<C, R, D>, Q>) -> Self::Layer {
        // The plan has adapted its default to the other stages.
        DrainLayer::checked(common.drain.unwrap_or(self))
            .classify(common.protocol.classifier.clone())
            .joined(common.name(name), &common.listeners)
    }
}

impl<C: Clone, R, D, Q> OptionalStage<Self, Protocol<C, R, D>, Q> for DrainConfig {
    /// No code has its handle, so the drain never begins.
    fn absent(common: &Common<Protocol<C, R, D>, Q>) -> Self::Layer {
        DrainLayer::checked(Self::new()).classify(common.protocol.classifier.clone())
    }
}

impl<C> HasHandle for DrainLayer<C> {
    type Handle = DrainHandle;

    fn handle(&self) -> DrainHandle {
        DrainLayer::handle(self)
    }
}
