//! The keyed layer.

use std::{
    fmt,
    hash::Hash,
    sync::{Arc, OnceLock},
};

use tower_layer::Layer;

use super::{handle::KeyedRateLimitHandle, service::KeyedRateLimit};
use crate::{
    keyed::KeySource,
    rate_limit::{
        config::RateLimitConfig,
        cost::UnitCost,
        layer::RateLimitLayer,
        quota::{QuotaSource, Quotas},
    },
    telemetry::Emitter,
};

/// Puts a [`KeyedRateLimit`] around a service. Made by [`RateLimitLayer::keyed`].
///
/// It starts no task and no timer, and runs in any runtime or none.
///
/// # Clone
///
/// All services made by this layer and by its clones share the limits: on twenty axum routes, on every connection.
#[derive(Clone)]
pub struct KeyedRateLimitLayer<K, F, C = UnitCost> {
    config: RateLimitConfig,
    emitter: Emitter,
    /// `None` in the layer of an absent stage.
    key: Option<F>,
    costs: Option<C>,
    max_keys: usize,
    handle: Arc<OnceLock<KeyedRateLimitHandle<K>>>,
}

impl<P, D, Costs, C> RateLimitLayer<P, D, Costs, C> {
    /// Gives each key a limit of its own: each client, each tenant, each route.
    ///
    /// Call it last: name, listeners and cost are set before. The new layer has a [handle](KeyedRateLimitLayer::handle) of
    /// its own; a handle from before stands for no key.
    ///
    /// A keyed limit rejects calls at once, whatever [queue](RateLimitConfig::queue) the config has. So priorities and
    /// deadlines have no effect. All keys share one rate, so a keyed limit does not [adapt](RateLimitConfig::adaptive) it.
    pub fn keyed<Req, K, F>(self, key: F) -> KeyedRateLimitLayer<K, F, Costs>
    where
        F: Fn(&Req) -> K,
    {
        self.keyed_by(key)
    }

    /// As [`keyed`](Self::keyed), with any [`KeySource`](crate::KeySource).
    pub(crate) fn keyed_by<K, F>(self, key: F) -> KeyedRateLimitLayer<K, F, Costs> {
        KeyedRateLimitLayer { key: Some(key), ..self.without_keys() }
    }

    /// The keyed layer of an optional stage that is left out: no call has a limit.
    pub(crate) fn without_keys<K, F>(self) -> KeyedRateLimitLayer<K, F, Costs> {
        let (config, emitter) = (self.handle.config(), self.handle.emitter().clone());
        KeyedRateLimitLayer {
            config,
            emitter,
            key: None,
            costs: self.costs,
            max_keys: MAX_KEYS,
            handle: Arc::default(),
        }
    }
}

impl<K, F, C> KeyedRateLimitLayer<K, F, C> {
    /// Bounds how many keys have state at a time.
    ///
    /// A key needs state only until its bucket is full again and its window empty. At the bound, a new key takes the place of
    /// such a key, so a lower number than that of all clients may do. A key whose tokens are not all back keeps its place.
    ///
    /// Without room, a new key shares the limit of one key with other new keys. There is one such shared limit for each
    /// 16 keys. So a flood of random keys neither fills the memory, nor gets more than a sixteenth beyond the
    /// bound; new keys of other clients suffer from it, and keys that have state do not. An event tells of keys
    /// without room.
    ///
    /// A key costs its own size, and about 30 bytes. A window adds about 70 bytes for its first call, and grows with the
    /// calls in it to 4.2 KB at most. At least 1; 0 is taken as 1. Default: 100 000 keys. Services that were made before
    /// keep the old limits.
    #[must_use]
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.max_keys = keys.max(1);
        self.handle = Arc::default();
        self
    }

    /// The handle of the limits.
    #[must_use]
    pub fn handle(&self) -> KeyedRateLimitHandle<K> {
        let new = || KeyedRateLimitHandle::new(self.config, self.emitter.clone(), self.max_keys);
        self.handle.get_or_init(new).clone()
    }
}

impl<S, K, F: Clone, C: Clone> Layer<S> for KeyedRateLimitLayer<K, F, C> {
    type Service = KeyedRateLimit<S, K, F, C>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyedRateLimit::new(inner, self.key.clone(), self.costs.clone(), self.handle())
    }
}

impl<Req, K, F, C> QuotaSource<Req> for KeyedRateLimitLayer<K, F, C>
where
    K: Hash + Eq + Clone,
    F: KeySource<Req, K>,
{
    type Key = Option<K>;

    fn key(&self, request: &Req) -> Option<K> {
        Some(self.key.as_ref()?.key(request))
    }

    fn quotas(&self, key: &Option<K>) -> Option<Quotas> {
        Some(self.handle().quotas(key.as_ref()?))
    }
}

impl<K, F, C> fmt::Debug for KeyedRateLimitLayer<K, F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimitLayer")
            .field("config", &self.config)
            .field("max_keys", &self.max_keys)
            .finish_non_exhaustive()
    }
}

/// The default.
pub(crate) const MAX_KEYS: usize = 100_000;
