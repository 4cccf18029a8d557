//! The layer, and the builder that needs an answer to become one.

use std::{hash::Hash, sync::Arc};

use tower_layer::Layer;

use super::{
    answer::{Source, With},
    config::FallbackConfig,
    handle::FallbackHandle,
    last_good::LastGood,
    other::Other,
    service::Fallback,
};
use crate::{
    call::{CloneRequest, ConfigError, StandardClassifier},
    telemetry::{Emitter, Listener, Name},
};

/// A fallback without an answer. Made by [`FallbackConfig::build`].
///
/// Each of its four methods names an answer and makes the layer. The builder itself is no [`Layer`]:
///
/// ```compile_fail
/// # use tower::{Layer, service_fn};
/// # use tower_reliability::{Error, fallback::FallbackConfig};
/// let backend = service_fn(|_: u32| async { Ok::<u32, Error<std::io::Error>>(1) });
/// let builder = FallbackConfig::new().build().unwrap();
/// let service = builder.layer(backend); // `builder.value(0)` is a layer
/// ```
///
/// # Clone
///
/// Clones share nothing: each answer makes a layer with counts of its own.
#[derive(Clone, Copy, Debug)]
#[must_use = "a fallback needs an answer: `.value(..)`, `.with(..)`, `.service(..)` or `.last_good(..)`"]
pub struct FallbackBuilder {
    /// Its numbers have been checked.
    config: FallbackConfig,
}

/// Puts a [`Fallback`] around a service. Made by [`FallbackBuilder`].
///
/// # Clone
///
/// All services of this layer and of its clones share the counts and the last good answers.
/// [`isolated`](Self::isolated) gives a layer with its own.
///
/// # Runtime
///
/// The layer needs no runtime and no timer. [`last_good`](FallbackBuilder::last_good) reads the clock.
///
/// # Panics
///
/// The layer does not panic. A panic in a function, a key, a clone or a classifier reaches the caller, and the call
/// counts as abandoned if the fallback was at work. Later calls are not affected.
#[derive(Clone, Debug)]
pub struct FallbackLayer<A, C = StandardClassifier> {
    pub(super) source: A,
    pub(super) classifier: C,
    pub(super) handle: FallbackHandle,
}

impl FallbackConfig {
    /// Checks the numbers. The fallback then needs its answer, such as [`value`](FallbackBuilder::value).
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule.
    pub fn build(self) -> Result<FallbackBuilder, ConfigError> {
        self.check()?;
        Ok(FallbackBuilder { config: self })
    }
}

impl FallbackBuilder {
    /// Answers with a clone of a value.
    ///
    /// A call that succeeds allocates nothing.
    pub fn value<Res: Clone>(self, value: Res) -> FallbackLayer<Arc<Res>> {
        self.source(Arc::new(value))
    }

    /// Answers with the result of a function, which sees the response or the error.
    ///
    /// If the function returns `None`, the caller gets the original result. The function can mark its answer, with a
    /// header for example. [`AsRejected`](crate::AsRejected) tells a rejection from a failure. A call that succeeds
    /// allocates nothing.
    ///
    /// ```
    /// use tower_reliability::{AsRejected, Error, fallback::FallbackConfig};
    ///
    /// let layer = FallbackConfig::new().build()?.with(
    ///     |result: Result<&String, &Error<std::io::Error>>| {
    ///         let rejected = result.err()?.as_rejected()?;
    ///         Some(format!("not now: {rejected}"))
    ///     },
    /// );
    /// # let _ = layer;
    /// # Ok::<(), tower_reliability::ConfigError>(())
    /// ```
    pub fn with<Res, Err, F>(self, function: F) -> FallbackLayer<With<F>>
    where
        F: Fn(Result<&Res, &Err>) -> Option<Res>,
    {
        self.source(With(Arc::new(function)))
    }

    /// Answers with the response of another service to a copy of the request.
    ///
    /// If that service fails, the caller gets the original result. [`resend`](FallbackLayer::resend) says how to copy
    /// requests, and which of them may be sent twice. Every call costs a clone of the other service and a copy of the
    /// request, which lives as long as the call. The fallback waits for the other service to be ready when it needs it.
    pub fn service<O>(self, service: O) -> FallbackLayer<Other<O>> {
        self.source(Other { service, resend: CloneRequest })
    }

    /// Answers with the last good answer for the same key, unless it is older than [`ttl`](FallbackConfig::ttl).
    ///
    /// The key must contain everything that the answer depends on. If answers depend on the caller, the key contains
    /// the caller, or one caller gets the answer of another. A request with the key `None` is not remembered.
    ///
    /// If two calls have the same key, the fallback remembers the later answer. It remembers a clone of the whole
    /// answer, with the extensions of an HTTP response: strip extensions that should not live that long in an inner
    /// layer. A streaming body cannot be cloned: collect it in an inner layer, into a `Full<Bytes>` for example.
    ///
    /// Every call costs its key. A call that succeeds costs a clone of the answer and a short lock.
    pub fn last_good<Req, Res, K, F>(self, key: F) -> FallbackLayer<LastGood<F, K, Res>>
    where
        F: Fn(&Req) -> Option<K>,
        K: Hash + Eq,
    {
        self.source(LastGood::new(Arc::new(key)))
    }

    fn source<A>(self, source: A) -> FallbackLayer<A> {
        let handle = FallbackHandle::new(self.config, Emitter::new("fallback"));
        FallbackLayer { source, classifier: StandardClassifier, handle }
    }
}

impl<A, C> FallbackLayer<A, C> {
    /// Classifies results with `classifier`: which responses are failures, and which are good answers.
    ///
    /// Default: [`StandardClassifier`].
    pub fn classify<D>(self, classifier: D) -> FallbackLayer<A, D> {
        FallbackLayer { source: self.source, classifier, handle: self.handle }
    }

    /// The handle to the numbers and the counts of this layer.
    #[must_use]
    pub fn handle(&self) -> FallbackHandle {
        self.handle.clone()
    }
}

impl<O, R, C> FallbackLayer<Other<O, R>, C> {
    /// Copies requests for the other service as `resend` says, and only the requests that it allows to be sent twice.
    ///
    /// An attempt that ended in a response counts as [running](crate::PriorAttempts::Running), since the caller may
    /// still get that response. So the other service gets only a request that is idempotent and has sent its whole
    /// body.
    ///
    /// Default: [`CloneRequest`], which takes every request for idempotent. Around HTTP use `http::HttpResend`.
    pub fn resend<Q>(self, resend: Q) -> FallbackLayer<Other<O, Q>, C> {
        let source = Other { service: self.source.service, resend };
        FallbackLayer { source, classifier: self.classifier, handle: self.handle }
    }
}

#[expect(private_bounds, reason = "the sources of answers are the four of `FallbackBuilder`")]
impl<A: Source, C> FallbackLayer<A, C> {
    /// Names the layer in its handle and in events, and gives it counts and last good answers of its own.
    ///
    /// Default: `fallback`.
    #[must_use]
    pub fn named(self, name: impl Into<Name>) -> Self {
        self.joined(name.into(), &[])
    }

    /// Adds a listener, which hears every [event](super#telemetry) of the layer.
    ///
    /// A layer that is in use stays as it is; the returned layer has counts and last good answers of its own.
    #[must_use]
    pub fn listen(self, listener: impl Listener) -> Self {
        let name = self.handle.name().clone();
        self.joined(name, &[Arc::new(listener)])
    }

    /// The same layer under this name, with these listeners besides its own.
    pub(crate) fn joined(self, name: Name, listeners: &[Arc<dyn Listener>]) -> Self {
        Self { source: self.source.fresh(), handle: self.handle.joined(name, listeners), ..self }
    }

    /// The same layer with counts and last good answers of its own.
    #[must_use]
    pub fn isolated(self) -> Self {
        let name = self.handle.name().clone();
        self.named(name)
    }
}

impl<S, A: Clone, C: Clone> Layer<S> for FallbackLayer<A, C> {
    type Service = Fallback<S, A, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Fallback { inner, layer: self.clone() }
    }
}
