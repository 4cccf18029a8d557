//! The contract of a stage: from a config to a layer, and from a layer to its handle.

use super::common::Common;
use crate::stack::{optional::OptionalLayer, plan::StageKey};

/// The content of one slot while the stack is built: [`Unused`], or a stage with the numbers `Config`.
///
/// The configs of the stages implement it, a `Duration` for a timeout, an `Option` of these, and a `FallbackLayer`. Not
/// for implementation outside this crate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be this stage of a stack",
    note = "a fallback is a `FallbackLayer` that knows its answer; all other stages are their configs, or an `Option`"
)]
pub trait Stage<Config, P, Q> {
    /// The layer of the built stack.
    type Layer;

    #[doc(hidden)]
    fn config(&self) -> Option<Config>;

    /// The key of a stage with state per key.
    #[doc(hidden)]
    fn key(&self) -> Option<StageKey> {
        None
    }

    #[doc(hidden)]
    fn assemble(self, name: &'static str, common: &Common<P, Q>) -> Self::Layer;
}

/// An empty slot. In the built stack it is a layer that returns the service as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unused;

impl<Config, P, Q> Stage<Config, P, Q> for Unused {
    type Layer = Self;

    fn config(&self) -> Option<Config> {
        None
    }

    fn assemble(self, _: &'static str, _: &Common<P, Q>) -> Self {
        self
    }
}

/// A stage that an `Option` can leave out: the configs of the stages, and a `Duration` for a timeout.
///
/// Not for implementation outside this crate.
#[diagnostic::on_unimplemented(
    message = "`Option<{Self}>` cannot be this stage of a stack",
    note = "an `Option` can leave out a config, also one with state per key; a fallback is always present"
)]
pub trait OptionalStage<Config, P, Q>: Stage<Config, P, Q> {
    #[doc(hidden)]
    fn absent(common: &Common<P, Q>) -> Self::Layer;
}

/// A stage that is decided while the program runs.
impl<Config, P, Q, S: OptionalStage<Config, P, Q>> Stage<Config, P, Q> for Option<S> {
    type Layer = OptionalLayer<S::Layer>;

    fn config(&self) -> Option<Config> {
        self.as_ref()?.config()
    }

    fn key(&self) -> Option<StageKey> {
        self.as_ref()?.key()
    }

    fn assemble(self, name: &'static str, common: &Common<P, Q>) -> Self::Layer {
        let is_present = self.is_some();
        let layer = self.map_or_else(|| S::absent(common), |stage| stage.assemble(name, common));
        OptionalLayer { layer, is_present }
    }
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
