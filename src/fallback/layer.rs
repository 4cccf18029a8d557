//! The layer: numbers, and what is attached to them.

use std::{hash::Hash, sync::Arc};

use tower_layer::Layer;

use super::{
    cause::Failed,
    config::FallbackConfig,
    handle::FallbackHandle,
    last_good::LastGood,
    mark::Unmarked,
    other::Other,
    service::Fallback,
    source::{Isolate, Unset, Value, With},
};
use crate::{
    call::{CloneRequest, ConfigError, StandardClassifier},
    telemetry::Name,
};

/// Puts a [`Fallback`] around a service. Made by [`FallbackConfig::build`].
///
/// One of [`value`](Self::value), [`with`](Self::with), [`service`](Self::service) and
/// [`last_good`](Self::last_good) says what to answer with; the one that is named last holds.
///
/// # Clone
///
/// All services made by this layer and by its clones share the counts and the last good answers.
/// [`isolated`](Self::isolated) gives a layer with its own.
#[derive(Clone, Debug)]
pub struct FallbackLayer<A = Unset, C = StandardClassifier, M = Unmarked> {
    source: A,
    classifier: C,
    mark: M,
    handle: FallbackHandle,
}

impl FallbackConfig {
    /// Checks the numbers and makes the layer, which has yet to be told what to answer with.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule.
    pub fn build(self) -> Result<FallbackLayer, ConfigError> {
        self.check()?;
        Ok(FallbackLayer::checked(self))
    }
}

impl FallbackLayer {
    /// The config has been checked.
    pub(crate) fn checked(config: FallbackConfig) -> Self {
        let handle = FallbackHandle::new(config, Name::new("fallback"));
        Self { source: Unset, classifier: StandardClassifier, mark: Unmarked, handle }
    }
}

impl<A, C, M> FallbackLayer<A, C, M> {
    /// Answers with a clone of a value.
    ///
    /// A call that succeeds costs no allocation.
    pub fn value<Res: Clone>(self, value: Res) -> FallbackLayer<Value<Res>, C, M> {
        self.source(Value::new(value))
    }

    /// Answers with what a function makes of the rejection, the error or the response. Where that is `None`, the
    /// caller gets the original result.
    ///
    /// A call that succeeds costs no allocation. A panic in the function passes through to the caller.
    pub fn with<Res, Err, F>(self, function: F) -> FallbackLayer<With<F>, C, M>
    where
        F: Fn(Failed<'_, Res, Err>) -> Option<Res>,
    {
        self.source(With::new(function))
    }

    /// Answers with what another service says to a copy of the request. Where it fails, the caller gets the original
    /// result.
    ///
    /// Every call, also one that succeeds, costs a clone of the other service and a copy of the request, which is kept
    /// only while the call runs; [`repeat`](FallbackLayer::repeat) says how to copy. The clone is made ready when it is
    /// needed.
    pub fn service<O>(self, service: O) -> FallbackLayer<Other<O>, C, M> {
        self.source(Other::new(service, CloneRequest))
    }

    /// Answers with the last good answer for the same key, if it is not older than the config's `ttl`: stale, if there
    /// is an error.
    ///
    /// The key must tell apart whatever the answer depends on. Where answers depend on who asks, that includes the
    /// caller, or one caller gets another's answer. For a request whose answer shall not be remembered, the key is
    /// `None`.
    ///
    /// Of two calls with one key, the one that ends last is remembered. What is remembered is a clone of the whole answer,
    /// the extensions of an HTTP response included: strip in a layer below what should not live that long.
    ///
    /// Every call costs its key; one that succeeds costs a clone of the answer, and a lock for a moment. A body that
    /// streams cannot be cloned: collect it in a layer below, so that the response is one of `Full<Bytes>`, say.
    pub fn last_good<Req, Res, K, F>(self, key: F) -> FallbackLayer<LastGood<F, K, Res>, C, M>
    where
        F: Fn(&Req) -> Option<K>,
        K: Hash + Eq,
    {
        let source = LastGood::new(Arc::new(key), self.handle.clone());
        self.source(source)
    }

    /// Answers with what a source of your own gives.
    pub fn source<B>(self, source: B) -> FallbackLayer<B, C, M> {
        FallbackLayer { source, classifier: self.classifier, mark: self.mark, handle: self.handle }
    }

    /// Decides by `classifier` what a result means: which responses are failures, and which are good answers.
    ///
    /// Default: [`StandardClassifier`].
    pub fn classify<D>(self, classifier: D) -> FallbackLayer<A, D, M> {
        FallbackLayer { source: self.source, classifier, mark: self.mark, handle: self.handle }
    }

    /// Marks the responses that come from the fallback. See [`Mark`](super::Mark). Default: nothing.
    pub fn mark<N>(self, mark: N) -> FallbackLayer<A, C, N> {
        FallbackLayer { source: self.source, classifier: self.classifier, mark, handle: self.handle }
    }

    /// A hold on the numbers and the counts of this layer.
    #[must_use]
    pub fn handle(&self) -> FallbackHandle {
        self.handle.clone()
    }
}

impl<O, P, C, M> FallbackLayer<Other<O, P>, C, M> {
    /// How the request is copied for the other service, and whether that one may be asked after the first has
    /// perhaps done what was asked. See [`Resend`](crate::Resend).
    ///
    /// Default: [`CloneRequest`], which takes every request for harmless.
    pub fn resend<Q>(self, resend: Q) -> FallbackLayer<Other<O, Q>, C, M> {
        let source = self.source.resend(resend);
        FallbackLayer { source, classifier: self.classifier, mark: self.mark, handle: self.handle }
    }
}

impl<A: Isolate, C, M> FallbackLayer<A, C, M> {
    /// What its handle calls it, with counts and last good answers of its own from then on. Default: `fallback`.
    #[must_use]
    pub fn named(self, name: impl Into<Name>) -> Self {
        self.anew(name.into())
    }

    /// The same layer with counts and last good answers of its own.
    #[must_use]
    pub fn isolated(self) -> Self {
        let name = self.handle.name().clone();
        self.anew(name)
    }

    fn anew(self, name: Name) -> Self {
        let handle = FallbackHandle::new(self.handle.config(), name);
        Self { source: self.source.isolated(&handle), handle, ..self }
    }
}

impl<S, A: Clone, C: Clone, M: Clone> Layer<S> for FallbackLayer<A, C, M> {
    type Service = Fallback<S, A, C, M>;

    fn layer(&self, inner: S) -> Self::Service {
        let (classifier, mark) = (self.classifier.clone(), self.mark.clone());
        Fallback::new(inner, self.source.clone(), classifier, mark, self.handle())
    }
}
