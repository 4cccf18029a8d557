//! Rate limits whose calls take more than a token.

use super::per_key::PerKey;
use crate::rate_limit::RateLimitConfig;

/// A rate limit of a stack whose requests take different numbers of tokens. Made by [`RateLimitConfig::cost`].
///
/// `C` reads the cost of a request: a closure or a [`CostSource`](crate::rate_limit::CostSource). A clone holds a clone of
/// it.
///
/// ```
/// use tower_reliability::{ReliabilityStack, rate_limit::RateLimitConfig};
///
/// #[derive(Clone)]
/// struct Prompt { tokens: u32 }
///
/// let stack = ReliabilityStack::builder()
///     .rate_limit(RateLimitConfig::per_second(10))
///     .pacing(RateLimitConfig::per_second(1_000).cost(|prompt: &Prompt| prompt.tokens))
///     .build()?;
/// # let _ = stack;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Costed<C> {
    pub(super) config: RateLimitConfig,
    pub(super) costs: C,
}

impl RateLimitConfig {
    /// A stage of a stack that reads from each request how many tokens it takes.
    ///
    /// A request of cost 0 always passes. A request that costs more than the burst, or than the window holds, never passes.
    /// Outside of a stack, see [`RateLimitLayer::cost`](crate::rate_limit::RateLimitLayer::cost). Without it, a request
    /// takes one token.
    pub const fn cost<C>(self, source: C) -> Costed<C> {
        Costed { config: self, costs: source }
    }

    /// A stage of a stack with a limit per key, so that one greedy tenant does not use up the calls of the others.
    ///
    /// Such a limit rejects calls at once, so the config must have no queue. Up to 100 000 keys have state;
    /// [`max_keys`](PerKey::max_keys) changes that. Outside of a stack, see
    /// [`keyed`](crate::rate_limit::RateLimitLayer::keyed).
    pub fn per_key<Req, K, F: Fn(&Req) -> K>(self, key: F) -> PerKey<Self, K, F> {
        PerKey::of_rate_limit(self, key)
    }
}

impl<C> Costed<C> {
    /// A stage of a stack with a limit [per key](RateLimitConfig::per_key).
    pub fn per_key<Req, K, F: Fn(&Req) -> K>(self, key: F) -> PerKey<Self, K, F> {
        PerKey::of_rate_limit(self, key)
    }
}
