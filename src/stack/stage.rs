//! What may stand in a slot of the stack.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use tower_layer::Identity;

use super::plan::Plan;
use crate::{
    call::{Protocol, StandardClassifier},
    circuit_breaker::{CircuitBreakerConfig, CircuitBreakerHandle, CircuitBreakerLayer},
    fallback::{FallbackConfig, FallbackHandle, FallbackLayer, Isolate},
    hedge::{HedgeConfig, HedgeHandle, HedgeLayer},
    retry::{RetryConfig, RetryHandle, RetryLayer},
    retry_budget::{RetryBudget, RetryBudgetConfig},
    telemetry::{CircuitState, Listener, Name},
    timeout::{TimeoutConfig, TimeoutHandle, TimeoutLayer},
};

/// What all stages of one stack have in common; `C`, `R` and `D` are those of its [`Protocol`].
pub struct Common<C, R, D> {
    pub(super) name: Option<Name>,
    pub(super) protocol: Protocol<C, R, D>,
    pub(super) budget: RetryBudget,
    pub(super) listeners: Vec<Arc<dyn Listener>>,
    /// The stack's breaker, once its stage is assembled.
    pub(super) circuit: Arc<OnceLock<CircuitBreakerHandle>>,
    /// The numbers of all stages.
    pub(super) plan: Plan,
}

impl<C, R, D> Common<C, R, D> {
    pub(super) fn new(protocol: Protocol<C, R, D>) -> Self {
        Self {
            name: None,
            protocol,
            budget: RetryBudget::checked(RetryBudgetConfig::new()),
            listeners: Vec::new(),
            circuit: Arc::default(),
            plan: Plan::default(),
        }
    }
}

impl<C, R, D> Common<C, R, D> {
    /// The same with another protocol.
    pub(super) fn protocol<C2, R2, D2>(
        self,
        change: impl FnOnce(Protocol<C, R, D>) -> Protocol<C2, R2, D2>,
    ) -> Common<C2, R2, D2> {
        let Self { name, protocol, budget, listeners, circuit, plan } = self;
        Common { name, protocol: change(protocol), budget, listeners, circuit, plan }
    }

    /// The stage's name within the named stack.
    fn name(&self, stage: &'static str) -> Name {
        match &self.name {
            Some(stack) => Name::from(format!("{stack}.{stage}")),
            None => Name::new(stage),
        }
    }
}

impl<C, R, D> fmt::Debug for Common<C, R, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Common").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a slot holds while a stack is built: nothing, or the numbers of a layer.
///
/// It is implemented by [`Unused`] and by the stages' configs, over the [`Common`] of a stack; there is nothing to
/// implement here.
pub trait Stage<X> {
    /// The layer it becomes.
    type Layer;

    #[doc(hidden)]
    fn assemble(self, field: &'static str, common: &X) -> Self::Layer;
}

/// The numbers in a slot, as the linter sees them; none where the slot is empty.
pub(super) trait Planned<N> {
    fn numbers(&self) -> Option<N>;
}

/// An empty slot. It costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unused;

impl<X> Stage<X> for Unused {
    type Layer = Identity;

    fn assemble(self, _: &'static str, _: &X) -> Identity {
        Identity::new()
    }
}

impl<N> Planned<N> for Unused {
    fn numbers(&self) -> Option<N> {
        None
    }
}

impl<C, R, D: Clone> Stage<Common<C, R, D>> for TimeoutConfig {
    type Layer = TimeoutLayer<D>;

    fn assemble(self, field: &'static str, common: &Common<C, R, D>) -> TimeoutLayer<D> {
        TimeoutLayer::checked(self).deadlines(common.protocol.deadlines.clone()).named(common.name(field))
    }
}

impl Planned<Self> for TimeoutConfig {
    fn numbers(&self) -> Option<Self> {
        Some(*self)
    }
}

impl<C: Clone, R: Clone, D: Clone> Stage<Common<C, R, D>> for RetryConfig {
    type Layer = RetryLayer<Protocol<C, R, D>>;

    fn assemble(self, field: &'static str, common: &Common<C, R, D>) -> Self::Layer {
        // The hedge is the inner layer of the two, so it records the attempts.
        let budget =
            if common.plan.hedge.is_some() { common.budget.withdraw_only() } else { common.budget.clone() };
        // The total timeout, for requests that have no place for a deadline.
        let layer = RetryLayer::checked(self)
            .within(common.plan.timeout.map(|timeout| timeout.limit()))
            .protocol(common.protocol.clone())
            .budget(budget)
            .named(common.name(field));
        if common.plan.circuit_breaker.is_none() || self.reaches_other_endpoints() {
            return layer;
        }
        // The stages are assembled from the outside in, so the breaker's handle does not exist yet.
        let circuit = Arc::clone(&common.circuit);
        layer.stop_while(move || circuit.get().is_some_and(|handle| handle.state() == CircuitState::Open))
    }
}

impl Planned<Self> for RetryConfig {
    fn numbers(&self) -> Option<Self> {
        Some(*self)
    }
}

impl<C: Clone, R: Clone, D: Clone> Stage<Common<C, R, D>> for HedgeConfig {
    type Layer = HedgeLayer<Protocol<C, R, D>>;

    fn assemble(self, field: &'static str, common: &Common<C, R, D>) -> Self::Layer {
        // All attempts pass the one breaker of the stack.
        let config = if common.plan.circuit_breaker.is_some() { self.no_other_endpoints() } else { self };
        HedgeLayer::checked(config)
            .protocol(common.protocol.clone())
            .budget(common.budget.clone())
            .named(common.name(field))
    }
}

impl Planned<Self> for HedgeConfig {
    fn numbers(&self) -> Option<Self> {
        Some(*self)
    }
}

impl<A: Isolate, M, C: Clone, R, D> Stage<Common<C, R, D>> for FallbackLayer<A, StandardClassifier, M> {
    type Layer = FallbackLayer<A, C, M>;

    fn assemble(self, field: &'static str, common: &Common<C, R, D>) -> FallbackLayer<A, C, M> {
        self.classify(common.protocol.classifier.clone()).named(common.name(field))
    }
}

impl<A, M> Planned<FallbackConfig> for FallbackLayer<A, StandardClassifier, M> {
    fn numbers(&self) -> Option<FallbackConfig> {
        Some(self.handle().config())
    }
}

impl<C: Clone, R, D> Stage<Common<C, R, D>> for CircuitBreakerConfig {
    type Layer = CircuitBreakerLayer<C>;

    fn assemble(self, field: &'static str, common: &Common<C, R, D>) -> CircuitBreakerLayer<C> {
        let layer = CircuitBreakerLayer::checked(self)
            .classify(common.protocol.classifier.clone())
            .named(common.name(field));
        let layer =
            common.listeners.iter().fold(layer, |layer, listener| layer.listen_shared(Arc::clone(listener)));
        common.circuit.get_or_init(|| layer.handle());
        layer
    }
}

impl Planned<Self> for CircuitBreakerConfig {
    fn numbers(&self) -> Option<Self> {
        Some(*self)
    }
}

/// A stage that is there, and so has a handle.
#[diagnostic::on_unimplemented(
    message = "this stack has no such stage",
    note = "name the stage while building the stack, and its handle is there"
)]
pub trait Handled {
    /// The hold on the running stage.
    type Handle;

    /// The hold on the running stage.
    fn handle(&self) -> Self::Handle;
}

impl<L> Handled for TimeoutLayer<L> {
    type Handle = TimeoutHandle;

    fn handle(&self) -> TimeoutHandle {
        TimeoutLayer::handle(self)
    }
}

impl<P, Q> Handled for RetryLayer<P, Q> {
    type Handle = RetryHandle;

    fn handle(&self) -> RetryHandle {
        RetryLayer::handle(self)
    }
}

impl<P, K> Handled for HedgeLayer<P, K> {
    type Handle = HedgeHandle;

    fn handle(&self) -> HedgeHandle {
        HedgeLayer::handle(self)
    }
}

impl<A, C, M> Handled for FallbackLayer<A, C, M> {
    type Handle = FallbackHandle;

    fn handle(&self) -> FallbackHandle {
        FallbackLayer::handle(self)
    }
}

impl<C> Handled for CircuitBreakerLayer<C> {
    type Handle = CircuitBreakerHandle;

    fn handle(&self) -> CircuitBreakerHandle {
        CircuitBreakerLayer::handle(self)
    }
}
