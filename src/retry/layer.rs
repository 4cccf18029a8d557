//! The layer: its numbers, its budget, and its protocol.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tower_layer::Layer;

use super::{
    config::RetryConfig,
    handle::{CircuitCheck, RetryHandle},
    keyed::KeyedRetryLayer,
    policy::OnePolicy,
    service::Retry,
};
use crate::{
    call::{ConfigError, Protocol},
    retry_budget::{RetryBudget, RetryBudgetConfig},
    telemetry::{Emitter, Listener, Name},
};

/// Puts a [`Retry`] around a service. Made by [`RetryConfig::build`].
///
/// The layer itself needs no runtime. A call that waits between attempts needs a tokio runtime with time enabled; see
/// [`ResponseFuture`](super::future::ResponseFuture).
///
/// # Clone
///
/// All services made by this layer and by its clones share one budget and one memory. [`isolated`](Self::isolated) gives
/// a layer with its own.
#[derive(Clone, Debug)]
pub struct RetryLayer<P = Protocol, Q = OnePolicy> {
    pub(super) spec: RetrySpec,
    pub(super) protocol: P,
    pub(super) policies: Q,
    handle: Arc<OnceLock<RetryHandle>>,
}

/// Everything that a new handle is made from.
#[derive(Clone, Debug)]
pub(super) struct RetrySpec {
    pub(super) config: RetryConfig,
    pub(super) emitter: Emitter,
    budget: Option<RetryBudget>,
    total: Option<Duration>,
    circuit: CircuitCheck,
    seed: Option<u64>,
}

impl RetrySpec {
    /// The budget that the layer was given, or a new one.
    pub(super) fn budget(&self) -> RetryBudget {
        self.budget.clone().unwrap_or_else(|| RetryBudget::checked(RetryBudgetConfig::new()))
    }

    /// A handle with a memory of its own. `circuit` takes the place of the layer's.
    pub(super) fn new_handle(
        &self,
        config: RetryConfig,
        emitter: Emitter,
        budget: &RetryBudget,
        circuit: Option<CircuitCheck>,
    ) -> RetryHandle {
        let circuit = circuit.unwrap_or_else(|| self.circuit.clone());
        RetryHandle::new(config, emitter, budget, self.total, circuit, self.seed)
    }
}

impl RetryConfig {
    /// Checks the numbers and makes the layer.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range.
    pub fn build(self) -> Result<RetryLayer, ConfigError> {
        self.check()?;
        Ok(RetryLayer::checked(self))
    }
}

impl RetryLayer {
    /// The config has been checked.
    pub(crate) fn checked(config: RetryConfig) -> Self {
        let (emitter, circuit) = (Emitter::new("retry"), CircuitCheck::default());
        Self {
            spec: RetrySpec { config, emitter, budget: None, total: None, circuit, seed: None },
            protocol: Protocol::new(),
            policies: OnePolicy,
            handle: Arc::default(),
        }
    }
}

impl<C, R, D, Q> RetryLayer<Protocol<C, R, D>, Q> {
    /// Classifies results with `classifier`. Default: [`StandardClassifier`](crate::StandardClassifier).
    pub fn classify<C2>(self, classifier: C2) -> RetryLayer<Protocol<C2, R, D>, Q> {
        self.change(|protocol, policies| (protocol.classify(classifier), policies))
    }

    /// Copies requests as `resend` does, and sends again the requests that it allows. Default:
    /// [`CloneRequest`](crate::CloneRequest), which clones every request and takes it for idempotent.
    ///
    /// **Around HTTP use `http::HttpResend`**, or `http::stack()`, which has it. With `CloneRequest` a retry sends a POST
    /// again that the backend may have processed: an order that timed out is placed twice.
    pub fn resend<R2>(self, resend: R2) -> RetryLayer<Protocol<C, R2, D>, Q> {
        self.change(|protocol, policies| (protocol.resend(resend), policies))
    }

    /// Reads the deadline of each request from `deadlines`; no attempt begins that cannot end in time. Default:
    /// [`NoDeadline`](crate::NoDeadline).
    pub fn deadlines<D2>(self, deadlines: D2) -> RetryLayer<Protocol<C, R, D2>, Q> {
        self.change(|protocol, policies| (protocol.deadlines(deadlines), policies))
    }
}

impl<P, Q> RetryLayer<P, Q> {
    /// Classifies, resends and reads deadlines as this protocol does. Default: [`Protocol::new`].
    pub fn protocol<P2>(self, protocol: P2) -> RetryLayer<P2, Q> {
        self.change(|_, policies| (protocol, policies))
    }

    /// Gives some requests their own numbers, with a closure `Fn(&Req) -> Option<RetryPolicy>`. Default: every request
    /// has the layer's numbers.
    ///
    /// ```
    /// use tower_reliability::retry::{RetryConfig, RetryPolicy};
    ///
    /// struct Query { expensive: bool }
    /// let once = RetryConfig::new().max_attempts(1).policy()?;
    /// let layer = RetryConfig::new().build()?
    ///     .policy(move |query: &Query| query.expensive.then(|| once.clone()));
    /// # Ok::<(), tower_reliability::ConfigError>(())
    /// ```
    pub fn policy<Q2>(self, policies: Q2) -> RetryLayer<P, Q2> {
        self.change(|protocol, _| (protocol, policies))
    }

    /// Withdraws retries from this budget. Default: a budget of its own, with the numbers of [`RetryBudgetConfig::new`].
    ///
    /// If an inner layer shares the budget, such as a hedge, give the retry its
    /// [`withdraw_only`](RetryBudget::withdraw_only) side. A layer that is in use stays as it is; the returned layer
    /// has a memory of its own.
    #[must_use]
    pub fn budget(mut self, budget: RetryBudget) -> Self {
        self.spec.budget = Some(budget);
        self.isolated()
    }

    /// The name in the handle and in events. Default: `retry`.
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

    /// Draws the jitter from a generator with this seed, so that a simulation repeats its delays. Default: a random seed.
    ///
    /// A layer that is in use stays as it is; the returned layer has a memory of its own.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.spec.seed = Some(seed);
        self.isolated()
    }

    /// Ends a call with its failure while `is_open` says that an inner circuit is open. Default: never.
    ///
    /// Without it, the attempt whose failure opens the circuit is followed by an attempt that the breaker rejects, and
    /// the caller gets the rejection instead of the failure. A stack with a breaker sets it, unless the retry has
    /// [`other_endpoints`](RetryConfig::other_endpoints). The retry asks after each failure that it would retry.
    ///
    /// If another call opens the circuit during the delay, the failed response is gone already. The call then ends with
    /// the breaker's rejection.
    ///
    /// A layer that is in use stays as it is; the returned layer has a memory of its own.
    ///
    /// ```
    /// use tower_reliability::{circuit_breaker::CircuitBreakerConfig, retry::RetryConfig};
    ///
    /// let breaker = CircuitBreakerConfig::new().build()?;
    /// let handle = breaker.handle();
    /// let is_open = move || handle.state().is_open();
    /// let retry = RetryConfig::new().build()?.stop_while(is_open);
    /// # let _ = (retry, breaker);
    /// # Ok::<(), tower_reliability::ConfigError>(())
    /// ```
    #[must_use]
    pub fn stop_while(mut self, is_open: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.spec.circuit = CircuitCheck(Some(Arc::new(is_open)));
        self.isolated()
    }

    /// The same layer with a memory of its own, and with a budget of its own unless it was [given one](Self::budget).
    #[must_use]
    pub fn isolated(mut self) -> Self {
        self.handle = Arc::default();
        self
    }

    /// The same layer, for calls that an outer timeout limits.
    pub(crate) fn within(mut self, total: Option<Duration>) -> Self {
        self.spec.total = total;
        self.isolated()
    }

    /// The handle of this layer.
    #[must_use]
    pub fn handle(&self) -> RetryHandle {
        let new =
            || self.spec.new_handle(self.spec.config, self.spec.emitter.clone(), &self.spec.budget(), None);
        self.handle.get_or_init(new).clone()
    }

    /// Keeps one budget and one memory per key: per host, per tenant.
    ///
    /// Call it last: all else is set before. Each key gets a budget of its own, with the numbers of the
    /// [`budget`](Self::budget) of this layer. The new layer has a [handle](KeyedRetryLayer::handle) of its own.
    ///
    /// A call takes a lock for a moment to find the state of its key. A stack has such a stage:
    /// [`per_key`](RetryConfig::per_key).
    pub fn keyed<Req, K, F>(self, key: F) -> KeyedRetryLayer<K, F, P, Q>
    where
        F: Fn(&Req) -> K,
    {
        self.keyed_by(key)
    }

    /// As [`keyed`](Self::keyed), with any [`KeySource`](crate::KeySource).
    pub(crate) fn keyed_by<K, F>(self, key: F) -> KeyedRetryLayer<K, F, P, Q> {
        KeyedRetryLayer::new(self, Some(key))
    }

    /// The keyed layer of an optional stage that is left out. All calls share the state of this layer.
    pub(crate) fn without_keys<K, F>(self) -> KeyedRetryLayer<K, F, P, Q> {
        KeyedRetryLayer::new(self, None)
    }

    fn change<P2, Q2>(self, change: impl FnOnce(P, Q) -> (P2, Q2)) -> RetryLayer<P2, Q2> {
        let (protocol, policies) = change(self.protocol, self.policies);
        RetryLayer { spec: self.spec, protocol, policies, handle: self.handle }
    }
}

impl<S: Clone, P: Clone, Q: Clone> Layer<S> for RetryLayer<P, Q> {
    type Service = Retry<S, P, Q>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(inner, self.protocol.clone(), self.policies.clone(), self.handle())
    }
}
