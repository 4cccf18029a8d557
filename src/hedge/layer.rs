//! The layer: numbers, a budget, and what is attached to them.

use std::sync::{Arc, OnceLock};

use tower_layer::Layer;

use super::{class::OneClass, config::HedgeConfig, handle::HedgeHandle, service::Hedge};
use crate::{
    call::{ConfigError, Protocol},
    retry_budget::{RetryBudget, RetryBudgetConfig},
    telemetry::Name,
};

/// Puts a [`Hedge`] around a service. Made by [`HedgeConfig::build`].
///
/// # Clone
///
/// All services made by this layer and by its clones share one budget and what was learnt. [`isolated`](Self::isolated)
/// gives a layer with its own.
#[derive(Clone, Debug)]
pub struct HedgeLayer<P = Protocol, K = OneClass> {
    config: HedgeConfig,
    name: Name,
    budget: Option<RetryBudget>,
    below_retry: bool,
    protocol: P,
    classes: K,
    handle: Arc<OnceLock<HedgeHandle>>,
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
            config,
            name: Name::new("hedge"),
            budget: None,
            below_retry: false,
            protocol: Protocol::new(),
            classes: OneClass,
            handle: Arc::default(),
        }
    }
}

impl<C, R, D, K> HedgeLayer<Protocol<C, R, D>, K> {
    /// Decides by `classifier` what a result means. Default: [`StandardClassifier`](crate::StandardClassifier).
    pub fn classify<C2>(self, classifier: C2) -> HedgeLayer<Protocol<C2, R, D>, K> {
        self.change(|protocol, classes| (protocol.classify(classifier), classes))
    }

    /// Learns from `resend` how requests are copied, and which of them may be sent twice. That is asked
    /// when a hedge is due, while the first attempt is running; the others pass once. Default:
    /// [`CloneRequest`](crate::CloneRequest), which clones all of them and takes none for harmful.
    ///
    /// **Around HTTP take `http::HttpResend`**, or the stack of `http::stack()`, which has it: `CloneRequest` takes a POST for
    /// harmless, and sends it again after it may have been done.
    pub fn resend<R2>(self, resend: R2) -> HedgeLayer<Protocol<C, R2, D>, K> {
        self.change(|protocol, classes| (protocol.resend(resend), classes))
    }
}

impl<P, K> HedgeLayer<P, K> {
    /// Classifies and resends as this protocol does; its deadlines are not asked. Default: [`Protocol::new`].
    pub fn protocol<P2>(self, protocol: P2) -> HedgeLayer<P2, K> {
        self.change(|_, classes| (protocol, classes))
    }

    /// Tells calls apart that take different times: a closure `Fn(&Req) -> usize`. The delay of each class is learnt by
    /// itself.
    ///
    /// The classes are numbered from 0, and there is room for 64; those of a greater number share the last. An array, and
    /// no map with keys that come and go: who hedges knows which few kinds of calls there are. Default: one class.
    ///
    /// ```
    /// use tower_reliability::hedge::HedgeConfig;
    ///
    /// enum Query { Lookup(u64), Report }
    /// let layer = HedgeConfig::quantile(0.95).build()?.class_of(|query: &Query| match query {
    ///     Query::Lookup(_) => 0,
    ///     Query::Report => 1,
    /// });
    /// # Ok::<(), tower_reliability::ConfigError>(())
    /// ```
    pub fn class_of<K2>(self, classes: K2) -> HedgeLayer<P, K2> {
        self.change(|protocol, _| (protocol, classes))
    }

    /// Asks this budget for credit. Default: one of its own, with the numbers of [`RetryBudgetConfig::new`].
    ///
    /// A layer that is already in use stays as it is; this one then gets a memory of its own.
    #[must_use]
    pub fn budget(mut self, budget: RetryBudget) -> Self {
        self.budget = Some(budget);
        self.isolated()
    }

    /// Says that it stands below a retry that has the same [budget](Self::budget). What the retry gets to see, it tells
    /// the budget; this layer then tells it the rest: attempts that failed while another one answered.
    ///
    /// A layer that is already in use stays as it is; this one then gets a memory of its own.
    #[must_use]
    pub fn below_retry(mut self) -> Self {
        self.below_retry = true;
        self.isolated()
    }

    /// What its logs call it. Default: `hedge`.
    ///
    /// A layer that is already in use stays as it is; this one then gets a memory of its own.
    #[must_use]
    pub fn named(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
        self.isolated()
    }

    /// The same layer with a memory of its own, and with a budget of its own unless it was [given one](Self::budget).
    #[must_use]
    pub fn isolated(mut self) -> Self {
        self.handle = Arc::default();
        self
    }

    /// A hold on what this layer learns.
    #[must_use]
    pub fn handle(&self) -> HedgeHandle {
        let new = || {
            let budget =
                self.budget.clone().unwrap_or_else(|| RetryBudget::checked(RetryBudgetConfig::new()));
            HedgeHandle::new(self.config, self.name.clone(), &budget, self.below_retry)
        };
        self.handle.get_or_init(new).clone()
    }

    fn change<P2, K2>(self, change: impl FnOnce(P, K) -> (P2, K2)) -> HedgeLayer<P2, K2> {
        let (protocol, classes) = change(self.protocol, self.classes);
        HedgeLayer {
            config: self.config,
            name: self.name,
            budget: self.budget,
            below_retry: self.below_retry,
            protocol,
            classes,
            handle: self.handle,
        }
    }
}

impl<S, P: Clone, K: Clone> Layer<S> for HedgeLayer<P, K> {
    type Service = Hedge<S, P, K>;

    fn layer(&self, inner: S) -> Self::Service {
        Hedge::new(inner, self.protocol.clone(), self.classes.clone(), self.handle())
    }
}
