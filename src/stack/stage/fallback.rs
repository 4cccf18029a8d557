//! The fallback of a stack.

use super::{Common, HasHandle, Stage};
use crate::{
    call::Protocol,
    fallback::{FallbackConfig, FallbackHandle, FallbackLayer, Source},
};

impl<A: Source, C: Clone, R, D, Q> Stage<FallbackConfig, Protocol<C, R, D>, Q> for FallbackLayer<A> {
    type Layer = FallbackLayer<A, C>;

    fn config(&self) -> Option<FallbackConfig> {
        Some(self.handle().config())
    }

    fn assemble(self, name: &'static str, common: &Common<Protocol<C, R, D>, Q>) -> Self::Layer {
        self.classify(common.protocol.classifier.clone()).joined(common.name(name), &common.listeners)
    }
}

impl<A, C> HasHandle for FallbackLayer<A, C> {
    type Handle = FallbackHandle;

    fn handle(&self) -> FallbackHandle {
        FallbackLayer::handle(self)
    }
}
