//! What may stand in a slot of the stack.

use std::{fmt, sync::Arc};

use tower_layer::Identity;

use super::plan::Plan;
use crate::{
    call::{CloneRequest, NoDeadline, StandardClassifier},
    circuit_breaker::{CircuitBreakerConfig, CircuitBreakerHandle, CircuitBreakerLayer},
    fallback::{FallbackConfig, FallbackHandle, FallbackLayer, Isolate},
    hedge::{HedgeConfig, HedgeHandle, HedgeLayer},
    retry::{RetryConfig, RetryHandle, RetryLayer},
    retry_budget::{RetryBudget, RetryBudgetConfig},
    telemetry::{Listener, Name},
    timeout::{TimeoutConfig, TimeoutHandle, TimeoutLayer},
};

/// What all stages of one stack have in common: `C` classifies, `L` knows the limits of a request, `R` repeats it.
pub struct Common<C, L, R> {
    pub(super) name: Option<Name>,
    pub(super) classifier: C,
    pub(super) deadlines: L,
    pub(super) resend: R,
    pub(super) budget: RetryBudget,
    pub(super) listeners: Vec<Arc<dyn Listener>>,
    /// The numbers of all stages.
    pub(super) plan: Plan,
}

impl Common<StandardClassifier, NoDeadline, CloneRequest> {
    pub(super) fn new() -> Self {
        Self {
            name: None,
            classifier: StandardClassifier,
            deadlines: NoDeadline,
            resend: CloneRequest,
            budget: RetryBudget::checked(RetryBudgetConfig::new()),
            listeners: Vec::new(),
            plan: Plan::default(),
        }
    }
}

impl<C, L, R> Common<C, L, R> {
    pub(super) fn classify<D>(self, change: impl FnOnce(C) -> D) -> Common<D, L, R> {
        self.change(|classifier, deadlines, resend| (change(classifier), deadlines, resend))
    }

    pub(super) fn deadlines<M>(self, deadlines: M) -> Common<C, M, R> {
        self.change(|classifier, _, resend| (classifier, deadlines, resend))
    }

    pub(super) fn resend<T>(self, resend: T) -> Common<C, L, T> {
        self.change(|classifier, deadlines, _| (classifier, deadlines, resend))
    }

    fn change<D, M, T>(self, change: impl FnOnce(C, L, R) -> (D, M, T)) -> Common<D, M, T> {
        let (classifier, deadlines, resend) = change(self.classifier, self.deadlines, self.resend);
        let Self { name, budget, listeners, plan, .. } = self;
        Common { name, classifier, deadlines, resend, budget, listeners, plan }
    }

    /// The stage's name within the named stack.
    fn name(&self, stage: &'static str) -> Name {
        match &self.name {
            Some(stack) => Name::from(format!("{stack}.{stage}")),
            None => Name::new(stage),
        }
    }
}

impl<C, L, R> fmt::Debug for Common<C, L, R> {
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

impl<C, L: Clone, R> Stage<Common<C, L, R>> for TimeoutConfig {
    type Layer = TimeoutLayer<L>;

    fn assemble(self, field: &'static str, common: &Common<C, L, R>) -> TimeoutLayer<L> {
        let layer = TimeoutLayer::checked(self).deadlines(common.deadlines.clone()).named(common.name(field));
        // The total timeout is absolute; the peer of an attempt has the full limit after the upload.
        if field == "attempt_timeout" { layer.after_upload() } else { layer }
    }
}

impl Planned<Self> for TimeoutConfig {
    fn numbers(&self) -> Option<Self> {
        Some(*self)
    }
}

impl<C: Clone, L: Clone, R: Clone> Stage<Common<C, L, R>> for RetryConfig {
    type Layer = RetryLayer<C, R, L>;

    fn assemble(self, field: &'static str, common: &Common<C, L, R>) -> RetryLayer<C, R, L> {
        // A deadline in the request says the same, where there is a place for one.
        RetryLayer::checked(self)
            .within(common.plan.timeout.map(|timeout| timeout.limit()))
            .classify(common.classifier.clone())
            .resend(common.resend.clone())
            .deadlines(common.deadlines.clone())
            .budget(common.budget.clone())
            .named(common.name(field))
    }
}

impl Planned<Self> for RetryConfig {
    fn numbers(&self) -> Option<Self> {
        Some(*self)
    }
}

impl<C: Clone, L, R: Clone> Stage<Common<C, L, R>> for HedgeConfig {
    type Layer = HedgeLayer<C, R>;

    fn assemble(self, field: &'static str, common: &Common<C, L, R>) -> HedgeLayer<C, R> {
        // The only breaker of the stack is that of every attempt.
        let config = if common.plan.circuit_breaker.is_some() { self.no_other_endpoints() } else { self };
        let hedge = HedgeLayer::checked(config)
            .classify(common.classifier.clone())
            .resend(common.resend.clone())
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

impl<A: Isolate, M, C: Clone, L, R> Stage<Common<C, L, R>> for FallbackLayer<A, StandardClassifier, M> {
    type Layer = FallbackLayer<A, C, M>;

    fn assemble(self, field: &'static str, common: &Common<C, L, R>) -> FallbackLayer<A, C, M> {
        self.classify(common.classifier.clone()).named(common.name(field))
    }
}

impl<A, M> Planned<FallbackConfig> for FallbackLayer<A, StandardClassifier, M> {
    fn numbers(&self) -> Option<FallbackConfig> {
        Some(self.handle().config())
    }
}

impl<C: Clone, L, R> Stage<Common<C, L, R>> for CircuitBreakerConfig {
    type Layer = CircuitBreakerLayer<C>;

    fn assemble(self, field: &'static str, common: &Common<C, L, R>) -> CircuitBreakerLayer<C> {
        let layer =
            CircuitBreakerLayer::checked(self).classify(common.classifier.clone()).named(common.name(field));
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

impl<C, R, L> Handled for RetryLayer<C, R, L> {
    type Handle = RetryHandle;

    fn handle(&self) -> RetryHandle {
        RetryLayer::handle(self)
    }
}

impl<C, R> Handled for HedgeLayer<C, R> {
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
