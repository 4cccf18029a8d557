//! The layer: numbers, a budget, and what is attached to them.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tower_layer::Layer;

use super::{config::RetryConfig, handle::RetryHandle, policy::OnePolicy, service::Retry};
use crate::{
    call::{ConfigError, Protocol},
    retry_budget::{RetryBudget, RetryBudgetConfig},
    telemetry::Name,
};

/// Puts a [`Retry`] around a service. Made by [`RetryConfig::build`].
///
/// # Clone
///
/// All services made by this layer and by its clones share one budget and one memory. [`isolated`](Self::isolated) gives
/// a layer with its own.
#[derive(Clone, Debug)]
pub struct RetryLayer<P = Protocol, Q = OnePolicy> {
    config: RetryConfig,
    name: Name,
    budget: Option<RetryBudget>,
    total: Option<Duration>,
    seed: Option<u64>,
    protocol: P,
    policies: Q,
    handle: Arc<OnceLock<RetryHandle>>,
}

impl RetryConfig {
    /// Checks the numbers and makes the layer. To wait, its calls need a tokio runtime with time.
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
        Self {
            config,
            name: Name::new("retry"),
            budget: None,
            total: None,
            seed: None,
            protocol: Protocol::new(),
            policies: OnePolicy,
            handle: Arc::default(),
        }
    }
}

impl<C, R, D, Q> RetryLayer<Protocol<C, R, D>, Q> {
    /// Decides by `classifier` what a result means. Default: [`StandardClassifier`](crate::StandardClassifier).
    pub fn classify<C2>(self, classifier: C2) -> RetryLayer<Protocol<C2, R, D>, Q> {
        self.change(|protocol, policies| (protocol.classify(classifier), policies))
    }

    /// Learns from `resend` how requests are copied, and which of them may be sent twice. Default:
    /// [`CloneRequest`](crate::CloneRequest), which clones all of them and takes none for harmful.
    ///
    /// **Around HTTP take `http::HttpResend`**, or the stack of `http::stack()`, which has it: `CloneRequest` takes a POST for
    /// harmless, and sends it again after it may have been done.
    pub fn resend<R2>(self, resend: R2) -> RetryLayer<Protocol<C, R2, D>, Q> {
        self.change(|protocol, policies| (protocol.resend(resend), policies))
    }

    /// Learns from each request by when its answer is wanted. Default: [`NoDeadline`](crate::NoDeadline).
    pub fn deadlines<D2>(self, deadlines: D2) -> RetryLayer<Protocol<C, R, D2>, Q> {
        self.change(|protocol, policies| (protocol.deadlines(deadlines), policies))
    }
}

impl<P, Q> RetryLayer<P, Q> {
    /// Classifies, resends and reads deadlines as this protocol does. Default: [`Protocol::new`].
    pub fn protocol<P2>(self, protocol: P2) -> RetryLayer<P2, Q> {
        self.change(|_, policies| (protocol, policies))
    }

    /// Chooses other numbers for some requests: a closure `Fn(&Req) -> Option<RetryPolicy>`.
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

    /// Asks this budget for credit. Default: one of its own, with the numbers of [`RetryBudgetConfig::new`].
    ///
    /// A layer that is already in use stays as it is; this one then gets a memory of its own.
    #[must_use]
    pub fn budget(mut self, budget: RetryBudget) -> Self {
        self.budget = Some(budget);
        self.isolated()
    }

    /// What its handle and its logs call it. Default: `retry`.
    ///
    /// A layer that is already in use stays as it is; this one then gets a memory of its own.
    #[must_use]
    pub fn named(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
        self.isolated()
    }

    /// Draws the jitter from a generator with this seed, so that the same calls wait the same. For simulations.
    ///
    /// A layer that is already in use stays as it is; this one then gets a memory of its own.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self.isolated()
    }

    /// The same layer with a memory of its own, and with a budget of its own unless it was [given one](Self::budget).
    #[must_use]
    pub fn isolated(mut self) -> Self {
        self.handle = Arc::default();
        self
    }

    /// The same layer, for calls that may as a whole take so long.
    pub(crate) fn within(mut self, total: Option<Duration>) -> Self {
        self.total = total;
        self.isolated()
    }

    /// A hold on the memory of this layer.
    #[must_use]
    pub fn handle(&self) -> RetryHandle {
        let new = || {
            let budget =
                self.budget.clone().unwrap_or_else(|| RetryBudget::checked(RetryBudgetConfig::new()));
            RetryHandle::new(self.config, self.name.clone(), &budget, self.total, self.seed)
        };
        self.handle.get_or_init(new).clone()
    }

    fn change<P2, Q2>(self, change: impl FnOnce(P, Q) -> (P2, Q2)) -> RetryLayer<P2, Q2> {
        let (protocol, policies) = change(self.protocol, self.policies);
        RetryLayer {
            config: self.config,
            name: self.name,
            budget: self.budget,
            total: self.total,
            seed: self.seed,
            protocol,
            policies,
            handle: self.handle,
        }
    }
}

impl<S, P: Clone, Q: Clone> Layer<S> for RetryLayer<P, Q> {
    type Service = Retry<S, P, Q>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(inner, self.protocol.clone(), self.policies.clone(), self.handle())
    }
}
