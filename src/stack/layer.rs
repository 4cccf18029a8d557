//! The stack: one layer made of layers.

use tower_layer::Layer;

use super::{
    boundary::Boundary,
    errors::WrappedErrors,
    slots::Slots,
    stage::{HasHandle, Unused},
};

/// One layer made of layers, in the one order in which they work together.
///
/// `E` says how errors look, and `S` holds the [layers](Slots) of all stages. Made by
/// [`StackBuilder::build`](super::StackBuilder::build).
///
/// # Runtime and panics
///
/// The stack needs a tokio runtime with time if a timeout, a retry or a hedge has to wait. It does not panic by
/// itself, and a panic in the service reaches the caller.
///
/// # Clone
///
/// All services made by a stack and by its clones share the state of every stage.
#[derive(Clone, Copy, Debug)]
pub struct ReliabilityStack<E = WrappedErrors, S = Slots> {
    pub(super) errors: E,
    pub(super) layers: S,
}

// `-> F::Handle` would be shorter, but then the compiler hides the message of `HasHandle` behind its own.
impl<E, F, T, R, H, B, A> ReliabilityStack<E, Slots<F, T, R, H, B, A>> {
    /// The handle of the fallback. The method exists exactly when the stack has this stage.
    pub fn fallback<Handle>(&self) -> Handle
    where
        F: HasHandle<Handle = Handle>,
    {
        self.layers.fallback.handle()
    }

    /// The handle of the timeout for the whole call. The method exists exactly when the stack has this stage.
    pub fn timeout<Handle>(&self) -> Handle
    where
        T: HasHandle<Handle = Handle>,
    {
        self.layers.timeout.handle()
    }

    /// The handle of the retry. The method exists exactly when the stack has this stage.
    pub fn retry<Handle>(&self) -> Handle
    where
        R: HasHandle<Handle = Handle>,
    {
        self.layers.retry.handle()
    }

    /// The handle of the hedge. The method exists exactly when the stack has this stage.
    pub fn hedge<Handle>(&self) -> Handle
    where
        H: HasHandle<Handle = Handle>,
    {
        self.layers.hedge.handle()
    }

    /// The handle of the circuit breaker. The method exists exactly when the stack has this stage.
    pub fn circuit_breaker<Handle>(&self) -> Handle
    where
        B: HasHandle<Handle = Handle>,
    {
        self.layers.circuit_breaker.handle()
    }

    /// The handle of the timeout for one attempt. The method exists exactly when the stack has this stage.
    pub fn attempt_timeout<Handle>(&self) -> Handle
    where
        A: HasHandle<Handle = Handle>,
    {
        self.layers.attempt_timeout.handle()
    }
}

impl<Svc, E, F, T, R, H, B, A> Layer<Svc> for ReliabilityStack<E, Slots<F, T, R, H, B, A>>
where
    E: Layer<Boundary<Svc, false>>,
    A: Layer<E::Service>,
    B: Layer<A::Service>,
    H: Layer<B::Service>,
    R: Layer<H::Service>,
    T: Layer<R::Service>,
    F: Layer<Boundary<T::Service, true>>,
{
    type Service = F::Service;

    fn layer(&self, inner: Svc) -> F::Service {
        let inner = self.errors.layer(Boundary::new(inner));
        let inner = self.layers.attempt_timeout.layer(inner);
        let inner = self.layers.circuit_breaker.layer(inner);
        let inner = self.layers.hedge.layer(inner);
        let inner = self.layers.retry.layer(inner);
        let inner = self.layers.timeout.layer(inner);
        // The fallback calls code of the user, and needs no time.
        self.layers.fallback.layer(Boundary::new(inner))
    }
}

impl<S> Layer<S> for Unused {
    type Service = S;

    fn layer(&self, inner: S) -> S {
        inner
    }
}
