//! The layer.

use std::sync::Arc;

use tower_layer::Layer;

use super::{
    adaptive::{Watch, Watched},
    config::RateLimitConfig,
    cost::UnitCost,
    handle::RateLimitHandle,
    quota::{QuotaSource, Quotas},
    service::RateLimit,
};
use crate::{
    call::{ConfigError, NoDeadline, NoPriority, UntilResponse},
    telemetry::{Emitter, Listener, Name},
};

/// Puts a [`RateLimit`] around a service. Made by [`RateLimitConfig::build`].
///
/// # Clone
///
/// All services made by this layer and by its clones share **one** limit: on twenty axum routes, on every connection.
/// [`isolated`](Self::isolated) gives a layer with a limit of its own.
///
/// # Panics
///
/// Building and calling do not panic. The [future](super::future::ResponseFuture) of a call that waits needs a tokio
/// runtime with time enabled.
#[derive(Clone, Debug)]
pub struct RateLimitLayer<P = NoPriority, D = NoDeadline, K = UnitCost, C = UntilResponse> {
    pub(super) priorities: P,
    pub(super) deadlines: D,
    /// `None` in the layer of an absent stage.
    pub(super) costs: Option<K>,
    pub(super) classifier: C,
    pub(super) handle: RateLimitHandle,
}

impl RateLimitConfig {
    /// Checks every number and makes the layer. Its bucket is full.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule.
    pub fn build(self) -> Result<RateLimitLayer, ConfigError> {
        self.check()?;
        Ok(RateLimitLayer::checked(self))
    }
}

impl RateLimitLayer {
    /// The config has been checked.
    pub(crate) fn checked(config: RateLimitConfig) -> Self {
        let handle = RateLimitHandle::new(config, Emitter::new("rate_limit"));
        let (priorities, deadlines, classifier) = (NoPriority, NoDeadline, UntilResponse);
        Self { priorities, deadlines, costs: Some(UnitCost), classifier, handle }
    }
}

impl<P, D, K, C> RateLimitLayer<P, D, K, C> {
    /// Reads the priority of each request from `source`: a closure or a [`PrioritySource`](crate::PrioritySource).
    ///
    /// Only a call that finds too few tokens is asked. Default: [`NoPriority`].
    pub fn priority<P2>(self, source: P2) -> RateLimitLayer<P2, D, K, C> {
        let Self { deadlines, costs, classifier, handle, .. } = self;
        RateLimitLayer { priorities: source, deadlines, costs, classifier, handle }
    }

    /// Reads the deadline of each request from `deadlines`. A call does not wait beyond its deadline.
    ///
    /// A call that waits hands its deadline on to the inner layers. A closure is no source of deadlines: its limits are for
    /// timeouts. Only a call that finds too few tokens is asked. Default: [`NoDeadline`].
    pub fn deadlines<D2>(self, deadlines: D2) -> RateLimitLayer<P, D2, K, C> {
        let Self { priorities, costs, classifier, handle, .. } = self;
        RateLimitLayer { priorities, deadlines, costs, classifier, handle }
    }

    /// Reads from each request how many tokens it takes: a closure or a [`CostSource`](super::CostSource).
    ///
    /// A request of cost 0 always passes. A request that costs more than the burst, or than the window holds, never
    /// passes: it is rejected as [`CostTooHigh`](crate::Reason::CostTooHigh). Default: [`UnitCost`], one token.
    pub fn cost<K2>(self, source: K2) -> RateLimitLayer<P, D, K2, C> {
        let Self { priorities, deadlines, classifier, handle, .. } = self;
        RateLimitLayer { priorities, deadlines, costs: Some(source), classifier, handle }
    }

    /// Classifies the results from which an [adaptive](super::adaptive) limit learns, and reads the quotas in responses.
    ///
    /// A limit whose rate is fixed asks no classifier. Default: [`UntilResponse`], with which a limit learns from latency
    /// alone.
    pub fn classify<C2>(self, classifier: C2) -> RateLimitLayer<P, D, K, C2> {
        let Self { priorities, deadlines, costs, handle, .. } = self;
        RateLimitLayer { priorities, deadlines, costs, classifier, handle }
    }

    /// Names the layer in rejections and events, and gives it a limit of its own. Default: `rate_limit`.
    #[must_use]
    pub fn named(self, name: impl Into<Name>) -> Self {
        self.joined(name.into(), &[])
    }

    /// The same layer with a limit of its own.
    #[must_use]
    pub fn isolated(self) -> Self {
        let name = self.handle.name().clone();
        self.joined(name, &[])
    }

    /// Adds a listener, which hears every [event](super#telemetry) of the layer.
    ///
    /// A layer that is in use stays as it is; the returned layer has a limit of its own.
    #[must_use]
    pub fn listen(self, listener: impl Listener) -> Self {
        let name = self.handle.name().clone();
        self.joined(name, &[Arc::new(listener)])
    }

    /// The same layer under this name, with these listeners besides its own.
    pub(crate) fn joined(self, name: Name, listeners: &[Arc<dyn Listener>]) -> Self {
        Self { handle: self.handle.joined(name, listeners), ..self }
    }

    /// The layer of an optional stage that is left out: every call passes, and takes no tokens.
    pub(crate) fn absent<K2>(self) -> RateLimitLayer<P, D, K2, C> {
        let Self { priorities, deadlines, classifier, handle, .. } = self;
        RateLimitLayer { priorities, deadlines, costs: None, classifier, handle }
    }

    /// The handle of this layer's limit.
    #[must_use]
    pub fn handle(&self) -> RateLimitHandle {
        self.handle.clone()
    }
}

impl<S, P: Clone, D: Clone, K: Clone, C: Clone> Layer<S> for RateLimitLayer<P, D, K, C> {
    type Service = RateLimit<S, P, D, K, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let shared = &self.handle.shared;
        let watch =
            shared.adapts.then(|| Watch { classifier: self.classifier.clone(), shared: Arc::clone(shared) });
        RateLimit { inner: Watched { inner, watch }, is_ready: false, layer: self.clone() }
    }
}

impl<Req, P, D, K, C> QuotaSource<Req> for RateLimitLayer<P, D, K, C> {
    type Key = ();

    fn key(&self, _: &Req) {}

    fn quotas(&self, (): &()) -> Option<Quotas> {
        self.costs.is_some().then(|| self.handle.quotas())
    }
}
