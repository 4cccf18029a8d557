//! What may stand in a slot of the stack.

use std::{fmt, sync::Arc};

use tower_layer::Identity;

use super::plan::Plan;
use crate::{
    call::{Protocol, StandardClassifier},
    circuit_breaker::{CircuitBreakerConfig, CircuitBreakerHandle, CircuitBreakerLayer},
    fallback::{FallbackConfig, FallbackHandle, FallbackLayer, Isolate},
    hedge::{HedgeConfig, HedgeHandle, HedgeLayer},
    retry::{RetryConfig, RetryHandle, RetryLayer},
    retry_budget::{RetryBudget, RetryBudgetConfig},
    telemetry::{Listener, Name},
    timeout::{TimeoutConfig, TimeoutHandle, TimeoutLayer},
};

/// What all stages of one stack have in common; `C`, `R` and `D` are those of its [`Protocol`].
pub struct Common<C, R, D> {
    pub(super) name: Option<Name>,
    pub(super) protocol: Protocol<C, R, D>,
    pub(super) budget: RetryBudget,
    pub(super) listeners: Vec<Arc<dyn Listener>>,
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
        let Self { name, protocol, budget, listeners, plan } = self;
        Common { name, protocol: change(protocol), budget, listeners, plan }
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
        // A deadline in the request says the same, where there is a place for one.
        RetryLayer::checked(self)
            .within(common.plan.timeout.map(|timeout| timeout.limit()))
            .protocol(common.protocol.clone())
            .budget(common.budget.clone())
            .named(common.name(field))
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
        // The only breaker of the stack is that of every attempt.
        let config = if common.plan.circuit_breaker.is_some() { self.no_other_endpoints() } else { self };
        let hedge = HedgeLayer::checked(config)
            .protocol(common.protocol.clone())
            .budget(common.budget.clone())
            .named(common.name(field));
        // What a request is, the outer of the two tells the budget.
        if common.plan.retry.is_some() { hedge.below_retry() } else { hedge }
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
        common.listeners.iter().fold(layer, |layer, listener| layer.listen_shared(Arc::clone(listener)))
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
