//! The keyed layer.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use tower_layer::Layer;

use super::{handle::KeyedConcurrencyLimitHandle, service::KeyedConcurrencyLimit};
use crate::{
    call::{NoDeadline, NoPriority, UntilResponse},
    concurrency_limit::layer::ConcurrencyLimitLayer,
};

/// Puts a [`KeyedConcurrencyLimit`] around a service. Made by [`ConcurrencyLimitLayer::keyed`].
///
/// # Clone
///
/// All services made by this layer and by its clones share the limits.
#[derive(Clone)]
pub struct KeyedConcurrencyLimitLayer<K, F, C = UntilResponse, P = NoPriority, D = NoDeadline> {
    /// Its own limit stands for no key.
    layer: ConcurrencyLimitLayer<C, P, D>,
    /// `None` in the layer of an absent stage.
    key: Option<F>,
    max_keys: usize,
    handle: Arc<OnceLock<KeyedConcurrencyLimitHandle<K>>>,
}

impl<K, F, C, P, D> KeyedConcurrencyLimitLayer<K, F, C, P, D> {
    pub(in crate::concurrency_limit) fn new(layer: ConcurrencyLimitLayer<C, P, D>, key: Option<F>) -> Self {
        Self { layer, key, max_keys: MAX_KEYS, handle: Arc::default() }
    }

    /// Bounds how many keys have a limit at a time.
    ///
    /// At the bound, a new key takes the place of a key without calls and handles. If there is none, calls with new keys
    /// share one limit, and an event says so. So a storm of new keys cannot pass unlimited. A larger bound costs memory,
    /// about 1 KB for each key, and about 1.5 KB more if the limit is adaptive. A key that is evicted forgets what its limit
    /// has learnt.
    ///
    /// At least 1; 0 is taken as 1. Default: 1 000 keys. Services that were made before keep the old limits.
    #[must_use]
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.max_keys = keys.max(1);
        self.handle = Arc::default();
        self
    }

    /// The handle of the limits.
    #[must_use]
    pub fn handle(&self) -> KeyedConcurrencyLimitHandle<K> {
        let new = || KeyedConcurrencyLimitHandle::new(&self.layer.handle, self.max_keys);
        self.handle.get_or_init(new).clone()
    }
}

impl<S, K, F: Clone, C: Clone, P: Clone, D: Clone> Layer<S> for KeyedConcurrencyLimitLayer<K, F, C, P, D> {
    type Service = KeyedConcurrencyLimit<S, K, F, C, P, D>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyedConcurrencyLimit::new(inner, self.key.clone(), self.layer.clone(), self.handle())
    }
}

impl<K, F, C, P, D> fmt::Debug for KeyedConcurrencyLimitLayer<K, F, C, P, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedConcurrencyLimitLayer")
            .field("name", self.layer.handle.name())
            .field("max_keys", &self.max_keys)
            .finish_non_exhaustive()
    }
}

const MAX_KEYS: usize = 1_000;
