//! The stages: the layer that each config becomes, and its handle.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{optional::OptionalLayer, per_key::AnyKey, plan::Plan};
use crate::{
    call::Protocol,
    circuit_breaker::{CircuitBreakerConfig, CircuitBreakerHandle, CircuitBreakerLayer},
    fallback::{FallbackConfig, FallbackHandle, FallbackLayer, Source},
    hedge::{HedgeConfig, HedgeHandle, HedgeLayer},
    retry::{RetryConfig, RetryHandle, RetryLayer},
    retry_budget::RetryBudget,
    telemetry::{CircuitState, Listener, Name},
    timeout::{TimeoutConfig, TimeoutHandle, TimeoutLayer},
};

/// The parts that all stages of one stack share.
pub struct Common<P> {
    pub(super) name: Option<Name>,
    pub(super) protocol: P,
    pub(super) budget: RetryBudget,
    pub(super) listeners: Vec<Arc<dyn Listener>>,
    /// The stack's breaker, once its stage is assembled.
    pub(super) circuit: Arc<OnceLock<CircuitBreakerHandle>>,
    /// The stack's keyed breaker, in place of the other one.
    pub(super) circuits: Arc<OnceLock<AnyKey>>,
    pub(super) plan: Plan,
}

impl<P> Common<P> {
    pub(super) fn change_protocol<P2>(self, change: impl FnOnce(P) -> P2) -> Common<P2> {
        let Self { name, protocol, budget, listeners, circuit, circuits, plan } = self;
        Common { name, protocol: change(protocol), budget, listeners, circuit, circuits, plan }
    }

    fn name(&self, stage: &'static str) -> Name {
        match &self.name {
            Some(stack) => Name::from(format!("{}.{stage}", stack.as_str())),
            None => Name::new(stage),
        }
    }
}

impl<P> fmt::Debug for Common<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Common").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The content of one slot while the stack is built: [`Unused`], or a stage with the numbers `Config`.
///
/// The configs of the stages implement it, a `Duration` for a timeout, an `Option` of these, and a `FallbackLayer`. Not
/// for implementation outside this crate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be this stage of a stack",
    note = "a fallback is a `FallbackLayer` that knows its answer; all other stages are their configs, or an `Option`"
)]
pub trait Stage<Config, P> {
    /// The layer of the built stack.
    type Layer;

    #[doc(hidden)]
    fn config(&self) -> Option<Config>;

    /// Whether the stage has state per key.
    #[doc(hidden)]
    fn is_keyed(&self) -> bool {
        false
    }

    #[doc(hidden)]
    fn assemble(self, name: &'static str, common: &Common<P>) -> Self::Layer;
}

/// An empty slot. In the built stack it is a layer that returns the service as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unused;

impl<Config, P> Stage<Config, P> for Unused {
    type Layer = Self;

    fn config(&self) -> Option<Config> {
        None
    }

    fn assemble(self, _: &'static str, _: &Common<P>) -> Self {
        self
    }
}

/// A stage that an `Option` can leave out: the configs of the stages, and a `Duration` for a timeout.
///
/// Not for implementation outside this crate.
#[diagnostic::on_unimplemented(
    message = "`Option<{Self}>` cannot be this stage of a stack",
    note = "an `Option` can leave out a config; a fallback and a stage with state per key are always present"
)]
pub trait OptionalStage<Config, P>: Stage<Config, P> {
    #[doc(hidden)]
    fn absent(common: &Common<P>) -> Self::Layer;
}

/// A stage that is decided while the program runs.
impl<Config, P, S: OptionalStage<Config, P>> Stage<Config, P> for Option<S> {
    type Layer = OptionalLayer<S::Layer>;

    fn config(&self) -> Option<Config> {
        self.as_ref()?.config()
    }

    fn assemble(self, name: &'static str, common: &Common<P>) -> Self::Layer {
        let is_present = self.is_some();
        let layer = self.map_or_else(|| S::absent(common), |stage| stage.assemble(name, common));
        OptionalLayer { layer, is_present }
    }
}

impl<A: Source, C: Clone, R, D> Stage<FallbackConfig, Protocol<C, R, D>> for FallbackLayer<A> {
    type Layer = FallbackLayer<A, C>;

    fn config(&self) -> Option<FallbackConfig> {
        Some(self.handle().config())
    }

    fn assemble(self, name: &'static str, common: &Common<Protocol<C, R, D>>) -> Self::Layer {
        self.classify(common.protocol.classifier.clone()).joined(common.name(name), &common.listeners)
    }
}

impl<C, R, D: Clone> Stage<Self, Protocol<C, R, D>> for TimeoutConfig {
    type Layer = TimeoutLayer<D>;

    fn config(&self) -> Option<Self> {
        Some(*self)
    }

    fn assemble(self, name: &'static str, common: &Common<Protocol<C, R, D>>) -> Self::Layer {
        let of_attempt = name == "attempt_timeout";
        // The plan has adapted defaults to the other stages.
        let planned = if of_attempt { common.plan.attempt_timeout } else { common.plan.timeout };
        let layer = TimeoutLayer::checked(planned.unwrap_or(self))
            .deadlines(common.protocol.deadlines.clone())
            .joined(common.name(name), &common.listeners);
        // The total timeout is absolute. The backend of an attempt has the full limit after the upload.
        if of_attempt { layer.after_upload() } else { layer }
    }
}

impl<C, R, D: Clone> OptionalStage<Self, Protocol<C, R, D>> for TimeoutConfig {
    fn absent(common: &Common<Protocol<C, R, D>>) -> Self::Layer {
        TimeoutLayer::checked(Self::new(Duration::MAX)).deadlines(common.protocol.deadlines.clone()).absent()
    }
}

impl<P> OptionalStage<TimeoutConfig, P> for Duration
where
    TimeoutConfig: OptionalStage<TimeoutConfig, P>,
{
    fn absent(common: &Common<P>) -> Self::Layer {
        TimeoutConfig::absent(common)
    }
}

impl<P> Stage<TimeoutConfig, P> for Duration
where
    TimeoutConfig: Stage<TimeoutConfig, P>,
{
    type Layer = <TimeoutConfig as Stage<TimeoutConfig, P>>::Layer;

    fn config(&self) -> Option<TimeoutConfig> {
        Some(TimeoutConfig::new(*self))
    }

    fn assemble(self, name: &'static str, common: &Common<P>) -> Self::Layer {
        TimeoutConfig::new(self).assemble(name, common)
    }
}

impl<P: Clone> Stage<Self, P> for RetryConfig {
    type Layer = RetryLayer<P>;

    fn config(&self) -> Option<Self> {
        Some(*self)
    }

    fn assemble(self, name: &'static str, common: &Common<P>) -> Self::Layer {
        // The hedge is the inner layer of the two, so it records the attempts.
        let budget =
            if common.plan.hedge.is_some() { common.budget.withdraw_only() } else { common.budget.clone() };
        // The deadline of the request says the same, but only if the protocol has a place for it.
        let layer = RetryLayer::checked(self)
            .within(common.plan.timeout.map(|timeout| timeout.limit()))
            .protocol(common.protocol.clone())
            .budget(budget)
            .joined(common.name(name), &common.listeners);
        if common.plan.circuit_breaker.is_none() || self.reaches_other_endpoints() {
            return layer;
        }
        // The stages are assembled from the outside in, so the breaker's handle does not exist yet.
        let circuit = Arc::clone(&common.circuit);
        layer.stop_while(move || circuit.get().is_some_and(|handle| handle.state() == CircuitState::Open))
    }
}

impl<P: Clone> OptionalStage<Self, P> for RetryConfig {
    fn absent(common: &Common<P>) -> Self::Layer {
        RetryLayer::checked(Self::new().max_attempts(1))
            .protocol(common.protocol.clone())
            .budget(RetryBudget::unlimited())
    }
}

impl<P: Clone> Stage<Self, P> for HedgeConfig {
    type Layer = HedgeLayer<P>;

    fn config(&self) -> Option<Self> {
        Some(*self)
    }

    fn assemble(self, name: &'static str, common: &Common<P>) -> Self::Layer {
        // A hedge would meet the same open circuit: every attempt of the stack passes this one breaker.
        let config = if common.plan.circuit_breaker.is_some() { self.no_other_endpoints() } else { self };
        HedgeLayer::checked(config)
            .protocol(common.protocol.clone())
            .budget(common.budget.clone())
            .joined(common.name(name), &common.listeners)
    }
}

impl<P: Clone> OptionalStage<Self, P> for HedgeConfig {
    fn absent(common: &Common<P>) -> Self::Layer {
        HedgeLayer::checked(Self::new())
            .protocol(common.protocol.clone())
            .budget(RetryBudget::unlimited())
            .absent()
    }
}

impl<C: Clone, R, D: Clone> Stage<Self, Protocol<C, R, D>> for CircuitBreakerConfig {
    type Layer = CircuitBreakerLayer<C, D>;

    fn config(&self) -> Option<Self> {
        Some(*self)
    }

    fn assemble(self, name: &'static str, common: &Common<Protocol<C, R, D>>) -> Self::Layer {
        let layer = breaker(self, name, common);
        common.circuit.get_or_init(|| layer.handle());
        layer
    }
}

impl<C: Clone, R, D: Clone> OptionalStage<Self, Protocol<C, R, D>> for CircuitBreakerConfig {
    fn absent(common: &Common<Protocol<C, R, D>>) -> Self::Layer {
        CircuitBreakerLayer::checked(Self::new())
            .classify(common.protocol.classifier.clone())
            .deadlines(common.protocol.deadlines.clone())
            .absent()
    }
}

/// The breaker of a stack, before it has a circuit.
pub(super) fn breaker<C: Clone, R, D: Clone>(
    config: CircuitBreakerConfig,
    name: &'static str,
    common: &Common<Protocol<C, R, D>>,
) -> CircuitBreakerLayer<C, D> {
    // The plan has adapted its defaults to the other stages.
    let layer = CircuitBreakerLayer::checked(common.plan.circuit_breaker.unwrap_or(config))
        .classify(common.protocol.classifier.clone())
        .deadlines(common.protocol.deadlines.clone())
        .joined(common.name(name), &common.listeners);
    let timeouts = [common.plan.timeout, common.plan.attempt_timeout].into_iter().flatten();
    timeouts.fold(layer, |layer, timeout| layer.patience(timeout.limit()))
}

/// The layer of a stage that exists, and so has a handle. An optional stage has an `Option` of its handle.
///
/// Without the stage, the accessor does not compile, and the compiler says to add the stage:
///
/// ```compile_fail,E0277
/// use tower_reliability::ReliabilityStack;
///
/// let stack = ReliabilityStack::builder().build()?;
/// stack.circuit_breaker();
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "this stack has no such stage: add the stage to its builder",
    label = "the stage was not named before `build()`"
)]
pub trait HasHandle {
    /// The type of the handle.
    type Handle;

    /// A handle of the running stage.
    fn handle(&self) -> Self::Handle;
}

impl<L: HasHandle> HasHandle for OptionalLayer<L> {
    type Handle = Option<L::Handle>;

    fn handle(&self) -> Option<L::Handle> {
        self.get_ref().map(L::handle)
    }
}

impl<A, C> HasHandle for FallbackLayer<A, C> {
    type Handle = FallbackHandle;

    fn handle(&self) -> FallbackHandle {
        FallbackLayer::handle(self)
    }
}

impl<D> HasHandle for TimeoutLayer<D> {
    type Handle = TimeoutHandle;

    fn handle(&self) -> TimeoutHandle {
        TimeoutLayer::handle(self)
    }
}

impl<P, Q> HasHandle for RetryLayer<P, Q> {
    type Handle = RetryHandle;

    fn handle(&self) -> RetryHandle {
        RetryLayer::handle(self)
    }
}

impl<P, K> HasHandle for HedgeLayer<P, K> {
    type Handle = HedgeHandle;

    fn handle(&self) -> HedgeHandle {
        HedgeLayer::handle(self)
    }
}

impl<C, D> HasHandle for CircuitBreakerLayer<C, D> {
    type Handle = CircuitBreakerHandle;

    fn handle(&self) -> CircuitBreakerHandle {
        CircuitBreakerLayer::handle(self)
    }
}
