//! The concurrency limit of a stack, with one limit or with a limit per key.

use std::{fmt::Display, hash::Hash};

use super::{Common, HasHandle, OptionalStage, Stage};
use crate::{
    call::Protocol,
    concurrency_limit::{
        ConcurrencyLimitConfig, ConcurrencyLimitHandle, ConcurrencyLimitLayer, KeyedConcurrencyLimitHandle,
        KeyedConcurrencyLimitLayer,
    },
    stack::{per_key::PerKey, plan::StageKey},
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

impl<K, F, C, R, D, Q> Stage<ConcurrencyLimitConfig, Protocol<C, R, D>, Q>
    for PerKey<ConcurrencyLimitConfig, K, F>
where
    K: Hash + Eq + Clone + Display + Send + Sync + 'static,
    C: Clone,
    D: Clone,
    Q: Clone,
{
    type Layer = KeyedConcurrencyLimitLayer<K, F, C, Q, D>;

    fn config(&self) -> Option<ConcurrencyLimitConfig> {
        Some(self.config)
    }

    fn key(&self) -> Option<StageKey> {
        Some(self.stage_key())
    }

    fn assemble(self, name: &'static str, common: &Common<Protocol<C, R, D>, Q>) -> Self::Layer {
        self.config.assemble(name, common).keyed_by(self.key).max_keys(self.max_keys)
    }
}

impl<K, F, C, R, D, Q> OptionalStage<ConcurrencyLimitConfig, Protocol<C, R, D>, Q>
    for PerKey<ConcurrencyLimitConfig, K, F>
where
    K: Hash + Eq + Clone + Display + Send + Sync + 'static,
    C: Clone,
    D: Clone,
    Q: Clone,
{
    fn absent(common: &Common<Protocol<C, R, D>, Q>) -> Self::Layer {
        ConcurrencyLimitConfig::absent(common).without_keys()
    }
}

impl<C, Q, D> HasHandle for ConcurrencyLimitLayer<C, Q, D> {
    type Handle = ConcurrencyLimitHandle;

    fn handle(&self) -> ConcurrencyLimitHandle {
        ConcurrencyLimitLayer::handle(self)
    }
}

impl<K, F, C, P, D> HasHandle for KeyedConcurrencyLimitLayer<K, F, C, P, D> {
    type Handle = KeyedConcurrencyLimitHandle<K>;

    fn handle(&self) -> KeyedConcurrencyLimitHandle<K> {
        KeyedConcurrencyLimitLayer::handle(self)
    }
}
