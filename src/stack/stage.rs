//! What may stand in a slot of the stack.

use std::sync::Arc;

use tower_layer::Identity;

use crate::{
    Listener, Name,
    circuit_breaker::{CircuitBreakerConfig, CircuitBreakerHandle, CircuitBreakerLayer},
    timeout::{TimeoutConfig, TimeoutHandle, TimeoutLayer},
};

/// What all stages of one stack have in common: `C` classifies, `L` knows the limits of a request.
pub struct Common<C, L> {
    pub(super) name: Option<Name>,
    pub(super) classifier: C,
    pub(super) limits: L,
    pub(super) listeners: Vec<Arc<dyn Listener>>,
}

impl<C, L> std::fmt::Debug for Common<C, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Common").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<C, L> Common<C, L> {
    pub(super) fn limits<M>(self, limits: M) -> Common<C, M> {
        Common { name: self.name, classifier: self.classifier, limits, listeners: self.listeners }
    }

    pub(super) fn classify<D>(self, change: impl FnOnce(C) -> D) -> Common<D, L> {
        Common {
            name: self.name,
            classifier: change(self.classifier),
            limits: self.limits,
            listeners: self.listeners,
        }
    }

    /// The stage's name within the named stack.
    fn name(&self, stage: &'static str) -> Name {
        match &self.name {
            Some(stack) => Name::from(format!("{stack}.{stage}")),
            None => Name::new(stage),
        }
    }
}

/// What a slot holds while a stack is built: nothing, or the numbers of a layer.
///
/// It is implemented by [`Unused`] and by the stages' configs; there is nothing to implement here.
pub trait Stage<C, L> {
    /// The layer it becomes.
    type Layer;

    #[doc(hidden)]
    fn assemble(self, field: &'static str, common: &Common<C, L>) -> Self::Layer;
}

/// The numbers in a slot, as the linter sees them; none where the slot is empty.
pub(super) trait Planned<N> {
    fn numbers(&self) -> Option<N>;
}

/// An empty slot. It costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unused;

impl<C, L> Stage<C, L> for Unused {
    type Layer = Identity;

    fn assemble(self, _: &'static str, _: &Common<C, L>) -> Identity {
        Identity::new()
    }
}

impl<N> Planned<N> for Unused {
    fn numbers(&self) -> Option<N> {
        None
    }
}

impl<C, L: Clone> Stage<C, L> for TimeoutConfig {
    type Layer = TimeoutLayer<L>;

    fn assemble(self, field: &'static str, common: &Common<C, L>) -> TimeoutLayer<L> {
        TimeoutLayer::checked(self).limits(common.limits.clone()).named(common.name(field))
    }
}

impl Planned<Self> for TimeoutConfig {
    fn numbers(&self) -> Option<Self> {
        Some(*self)
    }
}

impl<C: Clone, L> Stage<C, L> for CircuitBreakerConfig {
    type Layer = CircuitBreakerLayer<C>;

    fn assemble(self, field: &'static str, common: &Common<C, L>) -> CircuitBreakerLayer<C> {
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

impl<C> Handled for CircuitBreakerLayer<C> {
    type Handle = CircuitBreakerHandle;

    fn handle(&self) -> CircuitBreakerHandle {
        CircuitBreakerLayer::handle(self)
    }
}
