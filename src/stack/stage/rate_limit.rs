//! The two rate limits of a stack, of calls and of attempts, with one limit or with a limit per key.

use std::hash::Hash;

use super::{Common, HasHandle, OptionalStage, Stage};
use crate::{
    call::Protocol,
    rate_limit::{
        RateLimitConfig, RateLimitHandle, RateLimitLayer, UnitCost,
        keyed::{KeyedRateLimitHandle, KeyedRateLimitLayer},
    },
    stack::{cost::Costed, per_key::PerKey, plan::StageKey},
};

/// The numbers of a rate limit, and its source of costs. Not for implementation outside this crate.
pub trait RateLimitStage {
    #[doc(hidden)]
    type Costs;

    #[doc(hidden)]
    fn costed(self) -> Costed<Self::Costs>;

    #[doc(hidden)]
    fn numbers(&self) -> RateLimitConfig;
}

impl RateLimitStage for RateLimitConfig {
    type Costs = UnitCost;

    fn costed(self) -> Costed<UnitCost> {
        self.cost(UnitCost)
    }

    fn numbers(&self) -> RateLimitConfig {
        *self
    }
}

impl<C> RateLimitStage for Costed<C> {
    type Costs = C;

    fn costed(self) -> Self {
        self
    }

    fn numbers(&self) -> RateLimitConfig {
        self.config
    }
}

impl<C: Clone, R, D: Clone, Q: Clone, Costs> Stage<RateLimitConfig, Protocol<C, R, D>, Q> for Costed<Costs> {
    type Layer = RateLimitLayer<Q, D, Costs, C>;

    fn config(&self) -> Option<RateLimitConfig> {
        Some(self.config)
    }

    fn assemble(self, name: &'static str, common: &Common<Protocol<C, R, D>, Q>) -> Self::Layer {
        layer(self.config, common).cost(self.costs).joined(common.name(name), &common.listeners)
    }
}

impl<C: Clone, R, D: Clone, Q: Clone, Costs> OptionalStage<RateLimitConfig, Protocol<C, R, D>, Q>
    for Costed<Costs>
{
    fn absent(common: &Common<Protocol<C, R, D>, Q>) -> Self::Layer {
        layer(RateLimitConfig::per_second(1), common).absent()
    }
}

/// The limit of a stack, with the behaviour that its stages share.
fn layer<C: Clone, R, D: Clone, Q: Clone>(
    config: RateLimitConfig,
    common: &Common<Protocol<C, R, D>, Q>,
) -> RateLimitLayer<Q, D, UnitCost, C> {
    RateLimitLayer::checked(config)
        .classify(common.protocol.classifier.clone())
        .priority(common.priorities.clone())
        .deadlines(common.protocol.deadlines.clone())
}

impl<C: Clone, R, D: Clone, Q: Clone> Stage<Self, Protocol<C, R, D>, Q> for RateLimitConfig {
    type Layer = RateLimitLayer<Q, D, UnitCost, C>;

    fn config(&self) -> Option<Self> {
        Some(*self)
    }

    fn assemble(self, name: &'static str, common: &Common<Protocol<C, R, D>, Q>) -> Self::Layer {
        self.costed().assemble(name, common)
    }
}

impl<C: Clone, R, D: Clone, Q: Clone> OptionalStage<Self, Protocol<C, R, D>, Q> for RateLimitConfig {
    fn absent(common: &Common<Protocol<C, R, D>, Q>) -> Self::Layer {
        Costed::absent(common)
    }
}

impl<L, K, F, C, R, D, Q> Stage<RateLimitConfig, Protocol<C, R, D>, Q> for PerKey<L, K, F>
where
    L: RateLimitStage,
    K: Hash + Eq + Clone + 'static,
    C: Clone,
    D: Clone,
    Q: Clone,
{
    type Layer = KeyedRateLimitLayer<K, F, L::Costs>;

    fn config(&self) -> Option<RateLimitConfig> {
        Some(self.config.numbers())
    }

    fn key(&self) -> Option<StageKey> {
        Some(self.stage_key())
    }

    fn assemble(self, name: &'static str, common: &Common<Protocol<C, R, D>, Q>) -> Self::Layer {
        let limit = self.config.costed().assemble(name, common);
        limit.keyed_by(self.key).max_keys(self.max_keys)
    }
}

impl<L, K, F, C, R, D, Q> OptionalStage<RateLimitConfig, Protocol<C, R, D>, Q> for PerKey<L, K, F>
where
    L: RateLimitStage,
    K: Hash + Eq + Clone + 'static,
    C: Clone,
    D: Clone,
    Q: Clone,
{
    fn absent(common: &Common<Protocol<C, R, D>, Q>) -> Self::Layer {
        Costed::absent(common).without_keys()
    }
}

impl<P, D, K, C> HasHandle for RateLimitLayer<P, D, K, C> {
    type Handle = RateLimitHandle;

    fn handle(&self) -> RateLimitHandle {
        RateLimitLayer::handle(self)
    }
}

impl<K, F, C> HasHandle for KeyedRateLimitLayer<K, F, C> {
    type Handle = KeyedRateLimitHandle<K>;

    fn handle(&self) -> KeyedRateLimitHandle<K> {
        KeyedRateLimitLayer::handle(self)
    }
}
