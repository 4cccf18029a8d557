//! Stages with state per key: one circuit per host, one budget per tenant.

use std::{any::TypeId, marker::PhantomData};

use super::plan::StageKey;
use crate::{
    circuit_breaker::CircuitBreakerConfig, concurrency_limit::ConcurrencyLimitConfig, hedge::HedgeConfig,
    rate_limit::keyed::MAX_KEYS, retry::RetryConfig,
};

/// A stage with state per key. Made by `per_key` of [`CircuitBreakerConfig`],
/// [`RetryConfig`](RetryConfig::per_key), [`HedgeConfig`](HedgeConfig::per_key),
/// [`RateLimitConfig`](crate::rate_limit::RateLimitConfig::per_key) and
/// [`ConcurrencyLimitConfig`](ConcurrencyLimitConfig::per_key), or over HTTP by `per_authority`.
///
/// ```
/// use tower_reliability::{
///     ReliabilityStack, circuit_breaker::CircuitBreakerConfig, retry::RetryConfig,
/// };
///
/// #[derive(Clone)]
/// struct Query { tenant: u32 }
/// fn tenant(query: &Query) -> u32 { query.tenant }
///
/// let stack = ReliabilityStack::builder()
///     .retry(RetryConfig::new().per_key(tenant))
///     .circuit_breaker(CircuitBreakerConfig::new().per_key(tenant))
///     .build()?;
/// assert!(stack.circuit_breaker().get(&7).is_none(), "no call so far");
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct PerKey<Config, K, F> {
    pub(super) config: Config,
    pub(super) key: F,
    pub(super) max_keys: usize,
    of: PhantomData<fn() -> K>,
}

impl CircuitBreakerConfig {
    /// A stage of a stack with one circuit per key, so that one bad host or tenant does not stop the others.
    ///
    /// Give the retry the same key: it then looks at the circuit of its request, and stops when that circuit opens.
    /// Outside of a stack, see [`keyed`](crate::circuit_breaker::CircuitBreakerLayer::keyed).
    pub fn per_key<Req, K, F: Fn(&Req) -> K>(self, key: F) -> PerKey<Self, K, F> {
        PerKey::new(self, key)
    }
}

impl RetryConfig {
    /// A stage of a stack with one budget per key, so that one bad host or tenant does not use up the retries of the
    /// others.
    ///
    /// Each budget has the numbers of the [`retry_budget`](super::StackBuilder::retry_budget) of the stack. That budget
    /// itself serves the calls without room for their key. Outside of a stack, see
    /// [`keyed`](crate::retry::RetryLayer::keyed).
    pub fn per_key<Req, K, F: Fn(&Req) -> K>(self, key: F) -> PerKey<Self, K, F> {
        PerKey::new(self, key)
    }
}

impl HedgeConfig {
    /// A stage of a stack with one budget and the learnt delays per key, so that one slow host or tenant does not delay or
    /// use up the hedges of the others.
    ///
    /// The retry of the stack must have the same key: the two share the budget of each key. Outside of a stack, see
    /// [`keyed`](crate::hedge::HedgeLayer::keyed).
    pub fn per_key<Req, K, F: Fn(&Req) -> K>(self, key: F) -> PerKey<Self, K, F> {
        PerKey::new(self, key)
    }
}

impl ConcurrencyLimitConfig {
    /// A stage of a stack with one limit and one queue per key, so that one tenant cannot take the permits of the others.
    ///
    /// Outside of a stack, see [`keyed`](crate::concurrency_limit::ConcurrencyLimitLayer::keyed).
    pub fn per_key<Req, K, F: Fn(&Req) -> K>(self, key: F) -> PerKey<Self, K, F> {
        PerKey::new(self, key)
    }
}

impl<Config, K, F> PerKey<Config, K, F> {
    pub(crate) const fn new(config: Config, key: F) -> Self {
        Self { config, key, max_keys: 1_000, of: PhantomData }
    }

    /// A rate limit per key, whose keys cost little.
    pub(crate) const fn of_rate_limit(config: Config, key: F) -> Self {
        Self::new(config, key).max_keys(MAX_KEYS)
    }

    /// Bounds how many keys have state at a time.
    ///
    /// [`KeyedCircuitBreakerLayer::max_keys`](crate::circuit_breaker::KeyedCircuitBreakerLayer::max_keys),
    /// [`KeyedRetryLayer::max_keys`](crate::retry::KeyedRetryLayer::max_keys) and
    /// [`KeyedRateLimitLayer::max_keys`](crate::rate_limit::keyed::KeyedRateLimitLayer::max_keys) say which keys make
    /// room. At the bound, and if no key makes room, calls with a new key pass the breaker unprotected. They share one
    /// retry budget, one concurrency limit, and a few rate limits.
    ///
    /// At least 1; 0 is taken as 1. Default: 1 000 keys, and 100 000 keys of a rate limit.
    #[must_use]
    pub const fn max_keys(mut self, keys: usize) -> Self {
        self.max_keys = keys;
        self
    }
}

impl<Config, K: 'static, F> PerKey<Config, K, F> {
    pub(super) fn stage_key(&self) -> StageKey {
        StageKey { of: TypeId::of::<K>(), max_keys: self.max_keys }
    }
}

impl<Config: Clone, K, F: Clone> Clone for PerKey<Config, K, F> {
    fn clone(&self) -> Self {
        Self { config: self.config.clone(), key: self.key.clone(), max_keys: self.max_keys, of: PhantomData }
    }
}

impl<Config: Copy, K, F: Copy> Copy for PerKey<Config, K, F> {}
