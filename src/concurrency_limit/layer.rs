//! The layer.

use std::sync::Arc;

use tower_layer::Layer;

use super::{
    config::ConcurrencyLimitConfig, handle::ConcurrencyLimitHandle, keyed::KeyedConcurrencyLimitLayer,
    service::ConcurrencyLimit,
};
use crate::{
    call::{ConfigError, NoDeadline, NoPriority, UntilResponse},
    telemetry::{Emitter, Listener, Name},
};

/// Puts a [`ConcurrencyLimit`] around a service. Made by [`ConcurrencyLimitConfig::build`].
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
pub struct ConcurrencyLimitLayer<C = UntilResponse, P = NoPriority, D = NoDeadline> {
    pub(super) classifier: C,
    pub(super) priorities: P,
    pub(super) deadlines: D,
    pub(super) is_absent: bool,
    pub(super) handle: ConcurrencyLimitHandle,
}

impl ConcurrencyLimitConfig {
    /// Checks every number and makes the layer.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule.
    pub fn build(self) -> Result<ConcurrencyLimitLayer, ConfigError> {
        self.check()?;
        Ok(ConcurrencyLimitLayer::checked(self))
    }
}

impl ConcurrencyLimitLayer {
    /// The config has been checked.
    pub(crate) fn checked(config: ConcurrencyLimitConfig) -> Self {
        let handle = ConcurrencyLimitHandle::new(config, Emitter::new("concurrency_limit"));
        let (classifier, priorities, deadlines) = (UntilResponse, NoPriority, NoDeadline);
        Self { classifier, priorities, deadlines, is_absent: false, handle }
    }
}

impl<C, P, D> ConcurrencyLimitLayer<C, P, D> {
    /// Holds the permit of a call whose response `classifier` [defers](crate::Outcome::Deferred) until the response ends.
    ///
    /// A permit otherwise returns with the response, whose body may still be on its way. An error returns the permit at
    /// once. An [adaptive](ConcurrencyLimitConfig::adaptive) limit learns from the outcomes of responses and errors; see
    /// the [table](super#an-adaptive-limit). Default: [`UntilResponse`].
    pub fn classify<C2>(self, classifier: C2) -> ConcurrencyLimitLayer<C2, P, D> {
        self.change(|_, priorities, deadlines| (classifier, priorities, deadlines))
    }

    /// Reads the priority of each request from `source`: a closure or a [`PrioritySource`](crate::PrioritySource).
    ///
    /// Only a call that finds no free permit is asked. Default: [`NoPriority`].
    pub fn priority<P2>(self, source: P2) -> ConcurrencyLimitLayer<C, P2, D> {
        self.change(|classifier, _, deadlines| (classifier, source, deadlines))
    }

    /// Reads the deadline of each request from `deadlines`. A call does not wait beyond its deadline.
    ///
    /// A call that waits hands its deadline on to the inner layers. A closure is no source of deadlines: its limits are for
    /// timeouts. Only a call that finds no free permit is asked. Default: [`NoDeadline`].
    pub fn deadlines<D2>(self, deadlines: D2) -> ConcurrencyLimitLayer<C, P, D2> {
        self.change(|classifier, priorities, _| (classifier, priorities, deadlines))
    }

    /// Gives each key a limit of its own. `key` reads the key of a request.
    ///
    /// Set the other behaviours before: the keyed layer keeps them.
    pub fn keyed<Req, K, F>(self, key: F) -> KeyedConcurrencyLimitLayer<K, F, C, P, D>
    where
        F: Fn(&Req) -> K,
    {
        self.keyed_by(key)
    }

    /// As [`keyed`](Self::keyed), with any [`KeySource`](crate::KeySource).
    pub(crate) fn keyed_by<K, F>(self, key: F) -> KeyedConcurrencyLimitLayer<K, F, C, P, D> {
        KeyedConcurrencyLimitLayer::new(self, Some(key))
    }

    /// The keyed layer of an optional stage that is left out: no call has a limit.
    pub(crate) fn without_keys<K, F>(self) -> KeyedConcurrencyLimitLayer<K, F, C, P, D> {
        KeyedConcurrencyLimitLayer::new(self, None)
    }

    /// Names the layer in its rejections and events, and gives it a limit of its own. Default: `concurrency_limit`.
    #[must_use]
    pub fn named(self, name: impl Into<Name>) -> Self {
        self.joined(name.into(), &[])
    }

    /// Adds a listener, which hears every [event](super#telemetry) of the layer.
    ///
    /// A layer that is in use stays as it is; the returned layer has a limit of its own.
    #[must_use]
    pub fn listen(self, listener: impl Listener) -> Self {
        let name = self.handle.name().clone();
        self.joined(name, &[Arc::new(listener)])
    }

    /// The same layer with a limit of its own.
    #[must_use]
    pub fn isolated(self) -> Self {
        let name = self.handle.name().clone();
        self.joined(name, &[])
    }

    /// The same layer under this name, with these listeners besides its own, and with a limit of its own.
    pub(crate) fn joined(self, name: Name, listeners: &[Arc<dyn Listener>]) -> Self {
        Self { handle: self.handle.joined(name, listeners), ..self }
    }

    /// The layer of an optional stage that is left out: it limits no call.
    pub(crate) fn absent(self) -> Self {
        Self { is_absent: true, ..self }
    }

    /// The handle of this layer's limit.
    #[must_use]
    pub fn handle(&self) -> ConcurrencyLimitHandle {
        self.handle.clone()
    }

    fn change<C2, P2, D2>(
        self,
        change: impl FnOnce(C, P, D) -> (C2, P2, D2),
    ) -> ConcurrencyLimitLayer<C2, P2, D2> {
        let (classifier, priorities, deadlines) = change(self.classifier, self.priorities, self.deadlines);
        let (is_absent, handle) = (self.is_absent, self.handle);
        ConcurrencyLimitLayer { classifier, priorities, deadlines, is_absent, handle }
    }
}

impl<S, C: Clone, P: Clone, D: Clone> Layer<S> for ConcurrencyLimitLayer<C, P, D> {
    type Service = ConcurrencyLimit<S, C, P, D>;

    fn layer(&self, inner: S) -> Self::Service {
        ConcurrencyLimit { inner, is_ready: false, is_pending: false, layer: self.clone() }
    }
}
