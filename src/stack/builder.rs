//! The builder: behaviour that all stages share, and the check of all numbers together.

use std::sync::Arc;

use super::{
    config::StackConfig,
    errors::{Errors, FlatErrors, WrappedErrors},
    layer::ReliabilityStack,
    per_key::PerKey,
    slots::{Slots, Stages},
    stage::{Common, Unused},
};
use crate::{
    call::{ConfigError, NoPriority, Protocol},
    circuit_breaker::CircuitBreakerConfig,
    concurrency_limit::ConcurrencyLimitConfig,
    hedge::HedgeConfig,
    rate_limit::RateLimitConfig,
    retry::RetryConfig,
    retry_budget::RetryBudget,
    telemetry::{Listener, Name},
    timeout::TimeoutConfig,
};

/// Builds a [`ReliabilityStack`]. Made by [`ReliabilityStack::builder`].
///
/// `P` is the [`Protocol`] of all stages, `E` says how errors look, `S` holds one [slot](Slots) per stage, and `Q` reads
/// priorities. The setters come in any order; the last call of a setter wins.
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` makes the stack"]
pub struct StackBuilder<P = Protocol, E = WrappedErrors, S = Slots, Q = NoPriority> {
    common: Common<P, Q>,
    /// The numbers of a budget that `build` refuses.
    refused: Option<ConfigError>,
    errors: E,
    slots: S,
}

impl ReliabilityStack {
    /// A builder without any stage.
    pub fn builder() -> StackBuilder {
        let common = Common::new(Protocol::new());
        StackBuilder { common, refused: None, errors: WrappedErrors, slots: Slots::default() }
    }
}

impl StackConfig {
    /// A builder with these numbers. Each stage is optional, and its accessor returns an `Option` of its handle.
    ///
    /// [`StackBuilder::build`] checks the numbers. **For HTTP and gRPC, use `http::stack_from` and
    /// `grpc::stack_from`**: this builder takes every `Ok` for a success, and sends a POST twice.
    pub fn builder(self) -> StackBuilder<Protocol, WrappedErrors, ConfigSlots> {
        let Self {
            timeout,
            rate_limit,
            concurrency_limit,
            retry,
            hedge,
            pacing,
            circuit_breaker,
            attempt_timeout,
            retry_budget,
        } = self;
        let mut builder = ReliabilityStack::builder()
            .timeout(timeout)
            .rate_limit(rate_limit)
            .concurrency_limit(concurrency_limit)
            .retry(retry)
            .hedge(hedge)
            .pacing(pacing)
            .circuit_breaker(circuit_breaker)
            .attempt_timeout(attempt_timeout);
        match retry_budget.unwrap_or_default().build() {
            Ok(budget) => builder.common.budget = budget,
            Err(error) => builder.refused = Some(error.within("retry_budget")),
        }
        builder
    }
}

/// The slots of a builder that [`StackConfig::builder`] makes: each stage is optional.
pub type ConfigSlots<Fallback = Unused> = Slots<
    Fallback,
    Option<TimeoutConfig>,
    Option<RateLimitConfig>,
    Option<ConcurrencyLimitConfig>,
    Option<RetryConfig>,
    Option<HedgeConfig>,
    Option<RateLimitConfig>,
    Option<CircuitBreakerConfig>,
    Option<TimeoutConfig>,
>;

/// The slots of a builder after [`StackBuilder::per_key`]: retry, hedge and breaker have state per key.
pub type KeyedConfigSlots<K, F, Fallback = Unused> = Slots<
    Fallback,
    Option<TimeoutConfig>,
    Option<RateLimitConfig>,
    Option<ConcurrencyLimitConfig>,
    Option<PerKey<RetryConfig, K, F>>,
    Option<PerKey<HedgeConfig, K, F>>,
    Option<RateLimitConfig>,
    Option<PerKey<CircuitBreakerConfig, K, F>>,
    Option<TimeoutConfig>,
>;

impl<P, E, Fallback, Q> StackBuilder<P, E, ConfigSlots<Fallback>, Q> {
    /// Keeps the state of the retry, the hedge and the breaker of a [`StackConfig`] per key, each if it is present.
    ///
    /// Over HTTP, `per_authority()` takes host and port. Each stage has [state for up to 1 000 keys](PerKey::max_keys). The
    /// limits of the file stay one limit for all keys; code can set [one per key](PerKey) in their place.
    ///
    /// ```
    /// use tower_reliability::{retry::RetryConfig, stack::StackConfig};
    ///
    /// #[derive(Clone)]
    /// struct Query { tenant: u32 }
    ///
    /// let mut file = StackConfig::default();
    /// file.retry = Some(RetryConfig::new());
    /// let stack = file.builder().per_key(|query: &Query| query.tenant).build()?;
    /// let retries = stack.retry().expect("the file has one");
    /// assert!(retries.get(&7).is_none() && stack.hedge().is_none(), "no call so far");
    /// # Ok::<(), tower_reliability::ConfigError>(())
    /// ```
    pub fn per_key<Req, K, F>(self, key: F) -> StackBuilder<P, E, KeyedConfigSlots<K, F, Fallback>, Q>
    where
        F: Fn(&Req) -> K + Clone,
    {
        self.keyed_by(key)
    }

    /// As [`per_key`](Self::per_key), with any [`KeySource`](crate::KeySource).
    pub(crate) fn keyed_by<K, F: Clone>(
        self,
        key: F,
    ) -> StackBuilder<P, E, KeyedConfigSlots<K, F, Fallback>, Q> {
        self.change_slots(|slots| Slots {
            fallback: slots.fallback,
            timeout: slots.timeout,
            rate_limit: slots.rate_limit,
            concurrency_limit: slots.concurrency_limit,
            retry: slots.retry.map(|config| PerKey::new(config, key.clone())),
            hedge: slots.hedge.map(|config| PerKey::new(config, key.clone())),
            pacing: slots.pacing,
            circuit_breaker: slots.circuit_breaker.map(|config| PerKey::new(config, key)),
            attempt_timeout: slots.attempt_timeout,
        })
    }
}

impl<C, R, D, E, S, Q> StackBuilder<Protocol<C, R, D>, E, S, Q> {
    /// Sets classifier, resend and deadlines at once.
    ///
    /// `http::protocol()` and `grpc::protocol()` make one; `http::stack()` and `grpc::stack()` start with it.
    /// Default: [`Protocol::new`].
    pub fn protocol<C2, R2, D2>(
        self,
        protocol: Protocol<C2, R2, D2>,
    ) -> StackBuilder<Protocol<C2, R2, D2>, E, S, Q> {
        self.change(|_, priorities| (protocol, priorities))
    }

    /// Classifies results for all stages. The classifier sees the errors of the innermost service.
    ///
    /// Default: [`StandardClassifier`](crate::StandardClassifier), which takes every `Ok` for a success.
    pub fn classify<C2>(self, classifier: C2) -> StackBuilder<Protocol<C2, R, D>, E, S, Q> {
        self.change(|protocol, priorities| (protocol.classify(classifier), priorities))
    }

    /// Copies requests for further attempts, and decides which requests may be sent twice.
    ///
    /// **For HTTP, use `http::HttpResend`**, or start with `http::stack()`. The default treats a POST as idempotent and
    /// sends it again although the server may have processed it. Default: [`CloneRequest`](crate::CloneRequest),
    /// which clones every request and treats it as idempotent.
    pub fn resend<R2>(self, resend: R2) -> StackBuilder<Protocol<C, R2, D>, E, S, Q> {
        self.change(|protocol, priorities| (protocol.resend(resend), priorities))
    }

    /// Reads the deadline of each request, and hands it to the inner stages.
    ///
    /// For HTTP, use `http::RequestExtensions`. Default: [`NoDeadline`](crate::NoDeadline), so that only the timeouts
    /// of the stack count.
    pub fn deadlines<D2>(self, deadlines: D2) -> StackBuilder<Protocol<C, R, D2>, E, S, Q> {
        self.change(|protocol, priorities| (protocol.deadlines(deadlines), priorities))
    }

    /// Checks all numbers, each stage by itself and all of them together, and makes the stack.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule. If two fields conflict, the rule names the other one.
    pub fn build<Layers>(self) -> Result<ReliabilityStack<E, Layers>, ConfigError>
    where
        E: Errors,
        S: Stages<Protocol<E::Classifier<C>, R, D>, Q, Layers = Layers>,
    {
        if let Some(error) = self.refused {
            return Err(error);
        }
        let errors = self.errors;
        let common = self.common.change(|Protocol { classifier, resend, deadlines }, priorities| {
            let classifier = errors.classifier(classifier);
            (Protocol { classifier, resend, deadlines }, priorities)
        });
        Ok(ReliabilityStack { errors, layers: self.slots.assemble(common)? })
    }
}

impl<P, E, S, Q> StackBuilder<P, E, S, Q> {
    /// Grants further attempts from this budget.
    ///
    /// Share one budget among all stacks that call the same backend, so that together they cannot overload it. A retry
    /// with state [per key](super::PerKey) copies its numbers only, and has a budget per key. Default: a budget of this
    /// stack, with the numbers of [`RetryBudgetConfig::new`](crate::retry_budget::RetryBudgetConfig::new).
    pub fn retry_budget(mut self, budget: RetryBudget) -> Self {
        self.common.budget = budget;
        self.refused = None;
        self
    }

    /// Leaves the error type of the service as it is.
    ///
    /// The type must be `From<Rejected>`, such as a `BoxError` or an enum with that conversion. Default: the stack
    /// wraps the error in [`Error`](crate::Error).
    pub fn flat_errors(self) -> StackBuilder<P, FlatErrors, S, Q> {
        StackBuilder { common: self.common, refused: self.refused, errors: FlatErrors, slots: self.slots }
    }

    /// Names the stack. Rejections and events then carry the name `name.stage`.
    ///
    /// Default: no name; rejections and events carry the name of the stage alone.
    pub fn named(mut self, name: impl Into<Name>) -> Self {
        self.common.name = Some(name.into());
        self
    }

    /// Calls a listener with every [`Event`](crate::Event) of every stage.
    ///
    /// The [page of the module](super#telemetry) lists the events. Each call of this setter adds a listener. Default:
    /// none.
    pub fn listen(mut self, listener: impl Listener) -> Self {
        self.common.listeners.push(Arc::new(listener));
        self
    }

    /// Reads the priority of each request from `source`: a closure or a [`PrioritySource`](crate::PrioritySource).
    ///
    /// The queues of [`rate_limit`](Self::rate_limit), [`concurrency_limit`](Self::concurrency_limit) and
    /// [`pacing`](Self::pacing) serve waiting calls by it. Only a call that has to wait is asked. Default: [`NoPriority`].
    pub fn priority<Q2>(self, source: Q2) -> StackBuilder<P, E, S, Q2> {
        self.change(|protocol, _| (protocol, source))
    }

    fn change<P2, Q2>(self, change: impl FnOnce(P, Q) -> (P2, Q2)) -> StackBuilder<P2, E, S, Q2> {
        let common = self.common.change(change);
        StackBuilder { common, refused: self.refused, errors: self.errors, slots: self.slots }
    }

    pub(super) fn change_slots<S2>(self, change: impl FnOnce(S) -> S2) -> StackBuilder<P, E, S2, Q> {
        let slots = change(self.slots);
        StackBuilder { common: self.common, refused: self.refused, errors: self.errors, slots }
    }
}
