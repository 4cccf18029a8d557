//! The keyed layer.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use tower_layer::Layer;

use super::{
    handle::{KeyedRetryHandle, OpenKeys},
    service::KeyedRetry,
};
use crate::{
    call::Protocol,
    retry::{layer::RetryLayer, policy::OnePolicy, service::Retry},
    retry_budget::BudgetsPerKey,
};

/// Puts a [`KeyedRetry`] around a service. Made by [`RetryLayer::keyed`](crate::retry::RetryLayer::keyed).
///
/// The layer itself needs no runtime. A call that waits between attempts needs a tokio runtime with time enabled.
///
/// # Clone
///
/// All services made by this layer and by its clones share the states of all keys.
#[derive(Clone)]
pub struct KeyedRetryLayer<K, F, P = Protocol, Q = OnePolicy> {
    layer: RetryLayer<P, Q>,
    /// `None` in the layer of an absent stage.
    key: Option<F>,
    is_open: Option<OpenKeys<K>>,
    budgets: Option<BudgetsPerKey<K>>,
    max_keys: usize,
    handle: Arc<OnceLock<KeyedRetryHandle<K>>>,
}

impl<K, F, P, Q> KeyedRetryLayer<K, F, P, Q> {
    pub(in crate::retry) fn new(layer: RetryLayer<P, Q>, key: Option<F>) -> Self {
        Self { layer, key, is_open: None, budgets: None, max_keys: MAX_KEYS, handle: Arc::default() }
    }

    /// Bounds how many keys have a state at a time.
    ///
    /// At the bound, a new key takes the place of a key that no call and no handle refers to, and whose budget is as good
    /// as new: it has spent no retry in its window, and saw no failure of late. A key that was idle for the whole
    /// window of the budget is evicted in any state. Without such a key, calls with a new key share the state of [all
    /// others](KeyedRetryHandle::others), and a line in the log says so. A larger bound costs memory, about 4 KB for
    /// each key, and more for its last 100 failed attempts.
    ///
    /// At least 1; 0 is taken as 1. Default: 1 000 keys. Services that were made before keep the old states.
    #[must_use]
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.max_keys = keys.max(1);
        self.handle = Arc::default();
        self
    }

    /// Ends a call with its failure while `is_open` says that an inner circuit of its key is open. Default: never.
    ///
    /// It takes the place of [`RetryLayer::stop_while`](crate::retry::RetryLayer::stop_while), and must not call this
    /// layer. Services that were made before keep the old states.
    #[must_use]
    pub fn stop_while(mut self, is_open: impl Fn(&K) -> bool + Send + Sync + 'static) -> Self {
        self.is_open = Some(Arc::new(is_open));
        self.handle = Arc::default();
        self
    }

    /// Withdraws from these budgets, to which an inner hedge of the same key records.
    pub(crate) fn budgets(mut self, budgets: BudgetsPerKey<K>) -> Self {
        self.budgets = Some(budgets);
        self.handle = Arc::default();
        self
    }

    /// The handle of all keys.
    #[must_use]
    pub fn handle(&self) -> KeyedRetryHandle<K> {
        let new = || {
            let (spec, is_open, budgets) =
                (self.layer.spec.clone(), self.is_open.clone(), self.budgets.clone());
            KeyedRetryHandle::new(spec, is_open, budgets, self.max_keys)
        };
        self.handle.get_or_init(new).clone()
    }
}

impl<S: Clone, K, F: Clone, P: Clone, Q: Clone> Layer<S> for KeyedRetryLayer<K, F, P, Q> {
    type Service = KeyedRetry<S, K, F, P, Q>;

    fn layer(&self, inner: S) -> Self::Service {
        let (layer, handle) = (&self.layer, self.handle());
        let retry = Retry::new(inner, layer.protocol.clone(), layer.policies.clone(), handle.others());
        KeyedRetry::new(retry, self.key.clone(), handle)
    }
}

impl<K, F, P, Q> fmt::Debug for KeyedRetryLayer<K, F, P, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRetryLayer")
            .field("spec", &self.layer.spec)
            .field("max_keys", &self.max_keys)
            .finish_non_exhaustive()
    }
}

const MAX_KEYS: usize = 1_000;
