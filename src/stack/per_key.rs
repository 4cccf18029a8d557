//! Stages with state per key: one circuit per host, one budget per tenant.

use std::{any::Any, fmt::Display, hash::Hash, marker::PhantomData, sync::Arc};

use super::stage::{self, Common, HasHandle, Stage};
use crate::{
    call::Protocol,
    circuit_breaker::{CircuitBreakerConfig, KeyedCircuitBreakerHandle, KeyedCircuitBreakerLayer},
    retry::{KeyedRetryHandle, KeyedRetryLayer, RetryConfig},
    telemetry::CircuitState,
};

/// A stage with state per key. Made by [`CircuitBreakerConfig::per_key`] and [`RetryConfig::per_key`], or over HTTP by
/// `per_authority`.
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
    config: Config,
    key: F,
    max_keys: usize,
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
    /// itself serves a hedge, and the calls without room for their key. Outside of a stack, see
    /// [`keyed`](crate::retry::RetryLayer::keyed).
    pub fn per_key<Req, K, F: Fn(&Req) -> K>(self, key: F) -> PerKey<Self, K, F> {
        PerKey::new(self, key)
    }
}

impl<Config, K, F> PerKey<Config, K, F> {
    pub(crate) const fn new(config: Config, key: F) -> Self {
        Self { config, key, max_keys: 1_000, of: PhantomData }
    }

    /// Bounds how many keys have state at a time.
    ///
    /// [`KeyedCircuitBreakerLayer::max_keys`] and [`KeyedRetryLayer::max_keys`] say which keys make room. At the bound,
    /// and if no key makes room, calls with a new key pass the breaker unprotected, and share one retry budget.
    ///
    /// At least 1; 0 is taken as 1. Default: 1 000 keys.
    #[must_use]
    pub const fn max_keys(mut self, keys: usize) -> Self {
        self.max_keys = keys;
        self
    }
}

impl<Config: Clone, K, F: Clone> Clone for PerKey<Config, K, F> {
    fn clone(&self) -> Self {
        Self { config: self.config.clone(), key: self.key.clone(), max_keys: self.max_keys, of: PhantomData }
    }
}

impl<Config: Copy, K, F: Copy> Copy for PerKey<Config, K, F> {}

impl<K, F, P> Stage<RetryConfig, P> for PerKey<RetryConfig, K, F>
where
    K: Hash + Eq + Clone + Display + Send + Sync + 'static,
    P: Clone,
{
    type Layer = KeyedRetryLayer<K, F, P>;

    fn config(&self) -> Option<RetryConfig> {
        Some(self.config)
    }

    fn is_keyed(&self) -> bool {
        true
    }

    fn assemble(self, name: &'static str, common: &Common<P>) -> Self::Layer {
        // The stages are assembled from the outside in, so the breaker's handle does not exist yet.
        let (circuits, circuit) = (Arc::clone(&common.circuits), Arc::clone(&common.circuit));
        let retry = self.config.assemble(name, common).keyed_by(self.key).max_keys(self.max_keys);
        if self.config.reaches_other_endpoints() {
            return retry;
        }
        retry.stop_while(move |key| {
            let keyed: Option<&KeyedCircuitBreakerHandle<K>> =
                circuits.get().and_then(|handle| handle.downcast_ref());
            let circuit = keyed.map_or_else(|| circuit.get().cloned(), |handle| handle.get(key));
            circuit.is_some_and(|circuit| circuit.state() == CircuitState::Open)
        })
    }
}

impl<K, F, C, R, D> Stage<CircuitBreakerConfig, Protocol<C, R, D>> for PerKey<CircuitBreakerConfig, K, F>
where
    K: Send + Sync + 'static,
    C: Clone,
    D: Clone,
{
    type Layer = KeyedCircuitBreakerLayer<K, F, C, D>;

    fn config(&self) -> Option<CircuitBreakerConfig> {
        Some(self.config)
    }

    fn is_keyed(&self) -> bool {
        true
    }

    fn assemble(self, name: &'static str, common: &Common<Protocol<C, R, D>>) -> Self::Layer {
        let breaker = stage::breaker(self.config, name, common);
        let layer = breaker.keyed_by(self.key).max_keys(self.max_keys);
        common.circuits.get_or_init(|| Box::new(layer.handle()));
        layer
    }
}

/// The handle of a keyed breaker, whose key only the stages of that key know.
pub(super) type AnyKey = Box<dyn Any + Send + Sync>;

impl<K, F, P, Q> HasHandle for KeyedRetryLayer<K, F, P, Q> {
    type Handle = KeyedRetryHandle<K>;

    fn handle(&self) -> KeyedRetryHandle<K> {
        KeyedRetryLayer::handle(self)
    }
}

impl<K, F, C, D> HasHandle for KeyedCircuitBreakerLayer<K, F, C, D> {
    type Handle = KeyedCircuitBreakerHandle<K>;

    fn handle(&self) -> KeyedCircuitBreakerHandle<K> {
        KeyedCircuitBreakerLayer::handle(self)
    }
}
