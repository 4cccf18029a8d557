//! The keyed layer.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use tower_layer::Layer;

use super::{handle::KeyedHedgeHandle, service::KeyedHedge};
use crate::{
    call::Protocol,
    hedge::{class::OneClass, layer::HedgeLayer, service::Hedge},
    retry_budget::BudgetsPerKey,
};

/// Puts a [`KeyedHedge`] around a service. Made by [`HedgeLayer::keyed`](crate::hedge::HedgeLayer::keyed).
///
/// The layer itself needs no runtime. A call with a delay above zero needs a tokio runtime with time enabled.
///
/// # Clone
///
/// All services made by this layer and by its clones share the states of all keys.
#[derive(Clone)]
pub struct KeyedHedgeLayer<K, F, P = Protocol, Q = OneClass> {
    layer: HedgeLayer<P, Q>,
    /// `None` in the layer of an absent stage.
    key: Option<F>,
    budgets: Option<BudgetsPerKey<K>>,
    max_keys: usize,
    handle: Arc<OnceLock<KeyedHedgeHandle<K>>>,
}

impl<K, F, P, Q> KeyedHedgeLayer<K, F, P, Q> {
    pub(in crate::hedge) fn new(layer: HedgeLayer<P, Q>, key: Option<F>) -> Self {
        Self { layer, key, budgets: None, max_keys: MAX_KEYS, handle: Arc::default() }
    }

    /// Bounds how many keys have a state at a time.
    ///
    /// At the bound, a new key takes the place of a key that no call and no handle refers to, and whose budget is as good
    /// as new: it has spent no hedge in its window, and saw no failure of late. A key that was idle for the whole window
    /// of the budget is evicted in any state. An evicted key loses its learnt delays. Without such a key, calls with a
    /// new key share the state of [all others](KeyedHedgeHandle::others), and an event says so. A larger bound costs
    /// memory for each key.
    ///
    /// At least 1; 0 is taken as 1. Default: 1 000 keys. Services that were made before keep the old states.
    #[must_use]
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.max_keys = keys.max(1);
        self.handle = Arc::default();
        self
    }

    /// Takes the budget of each key from these, which an outer retry shares.
    pub(crate) fn budgets(mut self, budgets: Option<BudgetsPerKey<K>>) -> Self {
        self.budgets = budgets;
        self.handle = Arc::default();
        self
    }

    /// The handle of all keys.
    #[must_use]
    pub fn handle(&self) -> KeyedHedgeHandle<K> {
        let new = || KeyedHedgeHandle::new(self.layer.spec.clone(), self.budgets.clone(), self.max_keys);
        self.handle.get_or_init(new).clone()
    }
}

impl<S: Clone, K, F: Clone, P: Clone, Q: Clone> Layer<S> for KeyedHedgeLayer<K, F, P, Q> {
    type Service = KeyedHedge<S, K, F, P, Q>;

    fn layer(&self, inner: S) -> Self::Service {
        let (layer, handle) = (&self.layer, self.handle());
        let (protocol, classes) = (layer.protocol.clone(), layer.classes.clone());
        let hedge = Hedge::new(inner, layer.is_absent, protocol, classes, handle.others());
        KeyedHedge::new(hedge, self.key.clone(), handle)
    }
}

impl<K, F, P, Q> fmt::Debug for KeyedHedgeLayer<K, F, P, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedHedgeLayer")
            .field("spec", &self.layer.spec)
            .field("max_keys", &self.max_keys)
            .finish_non_exhaustive()
    }
}

const MAX_KEYS: usize = 1_000;
