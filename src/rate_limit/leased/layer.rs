//! The layer.

use std::{
    fmt::{self, Display},
    hash::Hash,
};

use tower_layer::Layer;

use super::{
    config::LeasedRateLimitConfig,
    handle::LeasedRateLimitHandle,
    leases::{LeasePerKey, OneLease},
    service::LeasedRateLimit,
    source::QuotaSource,
};
use crate::{
    call::ConfigError,
    rate_limit::cost::UnitCost,
    telemetry::{Emitter, Listener, Name},
};

/// Puts a [`LeasedRateLimit`] around a service. Made by [`LeasedRateLimitConfig::build`].
///
/// # Clone
///
/// All services made by this layer and by its clones share the leases.
#[derive(Clone)]
pub struct LeasedRateLimitLayer<L = OneLease, C = UnitCost> {
    leases: L,
    costs: C,
    handle: LeasedRateLimitHandle,
}

impl LeasedRateLimitConfig {
    /// Checks every number and makes the layer, over this source.
    ///
    /// The id names the limit at the source, and the layer in rejections and events. All instances use the same id and
    /// the same numbers. Two limits have two ids.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule.
    pub fn build(
        self,
        id: impl Into<Name>,
        source: impl QuotaSource,
    ) -> Result<LeasedRateLimitLayer, ConfigError> {
        self.check()?;
        let emitter = Emitter::new("leased_rate_limit").joined(id.into(), &[]);
        let handle = LeasedRateLimitHandle::new(self, emitter, Box::new(source));
        Ok(LeasedRateLimitLayer { leases: OneLease::new(&handle), costs: UnitCost, handle })
    }
}

impl<C> LeasedRateLimitLayer<OneLease, C> {
    /// Gives each key a limit of its own: each client, each tenant.
    ///
    /// The bucket of a key at the source is `id:key`. So the `Display` of a key must be the same at every instance, and
    /// differ between keys. Make a key of bounded length from a header, or memory is not bounded.
    pub fn keyed<Req, K, F>(self, key: F) -> LeasedRateLimitLayer<LeasePerKey<K, F>, C>
    where
        F: Fn(&Req) -> K,
        K: Hash + Eq + Clone + Display,
    {
        let Self { costs, handle, .. } = self;
        LeasedRateLimitLayer { leases: LeasePerKey::new(key, &handle, MAX_KEYS), costs, handle }
    }
}

impl<K, F, C> LeasedRateLimitLayer<LeasePerKey<K, F>, C> {
    /// Bounds how many keys have a lease at a time.
    ///
    /// At the bound, a new key takes the place of a key that owes the source nothing. If there is none, calls with new
    /// keys share one limit, and an event says so. A key costs its own size three times, and a few hundred bytes.
    ///
    /// At least 1; 0 is taken as 1. Default: 100 000 keys. Services that were made before keep the old leases.
    #[must_use]
    pub fn max_keys(self, keys: usize) -> Self {
        let Self { leases, costs, handle } = self;
        Self { leases: LeasePerKey::new(leases.into_key(), &handle, keys.max(1)), costs, handle }
    }
}

impl<L, C> LeasedRateLimitLayer<L, C> {
    /// Reads from each request how many units it takes: a closure or a [`CostSource`](crate::rate_limit::CostSource).
    ///
    /// A request of cost 0 always passes. A request that costs more than the burst never passes: it is rejected as
    /// [`CostTooHigh`](crate::Reason::CostTooHigh). A request that costs more than a lease passes on credit, so each
    /// instance may exceed the limit by its cost for a moment. Default: [`UnitCost`], one unit.
    pub fn cost<C2>(self, source: C2) -> LeasedRateLimitLayer<L, C2> {
        let Self { leases, handle, .. } = self;
        LeasedRateLimitLayer { leases, costs: source, handle }
    }

    /// Adds a listener, which hears every [event](super#telemetry) of the layer and of its clones.
    #[must_use]
    pub fn listen(self, listener: impl Listener) -> Self {
        self.handle.listen(listener);
        self
    }

    /// The handle of the limit.
    #[must_use]
    pub fn handle(&self) -> LeasedRateLimitHandle {
        self.handle.clone()
    }
}

impl<S, L: Clone, C: Clone> Layer<S> for LeasedRateLimitLayer<L, C> {
    type Service = LeasedRateLimit<S, L, C>;

    fn layer(&self, inner: S) -> Self::Service {
        LeasedRateLimit::new(inner, self.leases.clone(), self.costs.clone())
    }
}

impl<L, C> fmt::Debug for LeasedRateLimitLayer<L, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeasedRateLimitLayer").field("handle", &self.handle).finish_non_exhaustive()
    }
}

const MAX_KEYS: usize = 100_000;
