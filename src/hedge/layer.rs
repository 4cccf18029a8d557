//! The layer: its numbers, its budget, and its protocol.

use std::sync::{Arc, OnceLock};

use tower_layer::Layer;

use super::{
    class::OneClass, config::HedgeConfig, handle::HedgeHandle, keyed::KeyedHedgeLayer, service::Hedge,
};
use crate::{
    call::{ConfigError, Protocol},
    retry_budget::{RetryBudget, RetryBudgetConfig},
    telemetry::{Emitter, Listener, Name},
};

/// Puts a [`Hedge`] around a service. Made by [`HedgeConfig::build`].
///
/// The layer itself needs no runtime. A call with a delay above zero needs a tokio runtime with time enabled; see
/// [`ResponseFuture`](super::future::ResponseFuture).
///
/// # Clone
///
/// All services made by this layer and by its clones share one budget and the learnt delays. [`isolated`](Self::isolated)
/// gives a layer with its own.
#[derive(Clone, Debug)]
pub struct HedgeLayer<P = Protocol, K = OneClass> {
    pub(super) spec: HedgeSpec,
    pub(super) is_absent: bool,
    pub(super) protocol: P,
    pub(super) classes: K,
    handle: Arc<OnceLock<HedgeHandle>>,
}

/// Everything that a new handle is made from.
#[derive(Clone, Debug)]
pub(super) struct HedgeSpec {
    pub(super) config: HedgeConfig,
    pub(super) emitter: Emitter,
    budget: Option<RetryBudget>,
}

impl HedgeSpec {
    /// The budget that the layer was given, or a new one.
    pub(super) fn budget(&self) -> RetryBudget {
        self.budget.clone().unwrap_or_else(|| RetryBudget::checked(RetryBudgetConfig::new()))
    }
}

impl HedgeConfig {
    /// Checks the numbers and makes the layer.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range.
    pub fn build(self) -> Result<HedgeLayer, ConfigError> {
        self.check()?;
        Ok(HedgeLayer::checked(self))
    }
}

impl HedgeLayer {
    /// The config has been checked.
    pub(crate) fn checked(config: HedgeConfig) -> Self {
        Self {
            spec: HedgeSpec { config, emitter: Emitter::new("hedge"), budget: None },
            is_absent: false,
            protocol: Protocol::new(),
            classes: OneClass,
            handle: Arc::default(),
        }
    }
}

impl<C, R, D, K> HedgeLayer<Protocol<C, R, D>, K> {
    /// Classifies results with `classifier`. Default: [`StandardClassifier`](crate::StandardClassifier).
    pub fn classify<C2>(self, classifier: C2) -> HedgeLayer<Protocol<C2, R, D>, K> {
        self.change(|protocol, classes| (protocol.classify(classifier), classes))
    }

    /// Copies requests as `resend` does, and hedges the requests that it allows. The layer asks when a hedge is due,
    /// while the first attempt runs. Default: [`CloneRequest`](crate::CloneRequest), which clones every request and
    /// takes it for idempotent.
    ///
    /// **Around HTTP use `http::HttpResend`**, or `http::stack()`, which has it. With `CloneRequest` a slow POST is sent
    /// twice, and a slow order is placed twice.
    pub fn resend<R2>(self, resend: R2) -> HedgeLayer<Protocol<C, R2, D>, K> {
        self.change(|protocol, classes| (protocol.resend(resend), classes))
    }
}

impl<P, K> HedgeLayer<P, K> {
    /// Classifies and resends as this protocol does; a hedge reads no deadline. Default: [`Protocol::new`].
    pub fn protocol<P2>(self, protocol: P2) -> HedgeLayer<P2, K> {
        self.change(|_, classes| (protocol, classes))
    }

    /// Sorts calls into classes that take different times, with a closure `Fn(&Req) -> usize`. The layer learns a delay
    /// for each class.
    ///
    /// Classes are numbered from 0 to 63; all greater numbers share class 63. Default: one class.
    ///
    /// ```
    /// use tower_reliability::hedge::HedgeConfig;
    ///
    /// enum Query { Lookup(u64), Report }
    /// let class = |query: &Query| match query {
    ///     Query::Lookup(_) => 0,
    ///     Query::Report => 1,
    /// };
    /// let layer = HedgeConfig::quantile(0.95).build()?.class_of(class);
    /// # Ok::<(), tower_reliability::ConfigError>(())
    /// ```
    pub fn class_of<K2>(self, classes: K2) -> HedgeLayer<P, K2> {
        self.change(|protocol, _| (protocol, classes))
    }

    /// Withdraws hedges from this budget. Default: a budget of its own, with the numbers of [`RetryBudgetConfig::new`].
    ///
    /// If an outer retry shares the budget, give the retry its [`withdraw_only`](RetryBudget::withdraw_only) side. A
    /// layer that is in use stays as it is; the returned layer has a memory of its own.
    #[must_use]
    pub fn budget(mut self, budget: RetryBudget) -> Self {
        self.spec.budget = Some(budget);
        self.isolated()
    }

    /// The name in the handle and in events. Default: `hedge`.
    ///
    /// A layer that is in use stays as it is; the returned layer has a memory of its own.
    #[must_use]
    pub fn named(self, name: impl Into<Name>) -> Self {
        self.joined(name.into(), &[])
    }

    /// Adds a listener, which hears every [event](super#telemetry) of the layer.
    ///
    /// A layer that is in use stays as it is; the returned layer has a memory of its own.
    #[must_use]
    pub fn listen(self, listener: impl Listener) -> Self {
        let name = self.spec.emitter.name().clone();
        self.joined(name, &[Arc::new(listener)])
    }

    /// The same layer under this name, with these listeners besides its own.
    pub(crate) fn joined(mut self, name: Name, listeners: &[Arc<dyn Listener>]) -> Self {
        self.spec.emitter = self.spec.emitter.joined(name, listeners);
        self.isolated()
    }

    /// The same layer with a memory of its own, and with a budget of its own unless it was [given one](Self::budget).
    #[must_use]
    pub fn isolated(mut self) -> Self {
        self.handle = Arc::default();
        self
    }

    /// The layer of an optional stage that is left out: it sends no hedge.
    pub(crate) fn absent(mut self) -> Self {
        self.is_absent = true;
        self
    }

    /// The handle of this layer.
    #[must_use]
    pub fn handle(&self) -> HedgeHandle {
        let new = || HedgeHandle::new(self.spec.config, self.spec.emitter.clone(), &self.spec.budget());
        self.handle.get_or_init(new).clone()
    }

    /// Keeps one budget and the learnt delays per key: per host, per tenant.
    ///
    /// Call it last: all else is set before. Each key gets a budget of its own, with the numbers of the
    /// [`budget`](Self::budget) of this layer. The new layer has a [handle](KeyedHedgeLayer::handle) of its own.
    ///
    /// A call takes a lock for a moment to find the state of its key. A stack has such a stage, whose budgets it shares
    /// with its retry: [`per_key`](HedgeConfig::per_key).
    pub fn keyed<Req, Key, F>(self, key: F) -> KeyedHedgeLayer<Key, F, P, K>
    where
        F: Fn(&Req) -> Key,
    {
        self.keyed_by(key)
    }

    /// As [`keyed`](Self::keyed), with any [`KeySource`](crate::KeySource).
    pub(crate) fn keyed_by<Key, F>(self, key: F) -> KeyedHedgeLayer<Key, F, P, K> {
        KeyedHedgeLayer::new(self, Some(key))
    }

    /// The keyed layer of an optional stage that is left out. All calls share the state of this layer.
    pub(crate) fn without_keys<Key, F>(self) -> KeyedHedgeLayer<Key, F, P, K> {
        KeyedHedgeLayer::new(self, None)
    }

    fn change<P2, K2>(self, change: impl FnOnce(P, K) -> (P2, K2)) -> HedgeLayer<P2, K2> {
        let (protocol, classes) = change(self.protocol, self.classes);
        HedgeLayer { spec: self.spec, is_absent: self.is_absent, protocol, classes, handle: self.handle }
    }
}

impl<S: Clone, P: Clone, K: Clone> Layer<S> for HedgeLayer<P, K> {
    type Service = Hedge<S, P, K>;

    fn layer(&self, inner: S) -> Self::Service {
        Hedge::new(inner, self.is_absent, self.protocol.clone(), self.classes.clone(), self.handle())
    }
}
