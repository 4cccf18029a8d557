//! The stack: one layer made of layers.

use tower_layer::Layer;

use super::{
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
/// The stack needs what its stages need: a tokio runtime with time if a timeout, a retry or a hedge has to wait. It
/// does not panic by itself, and a panic in the service reaches the caller.
///
/// # Clone
///
/// All services made by a stack and by its clones share the state of every stage.
#[derive(Clone, Copy, Debug)]
pub struct ReliabilityStack<E = WrappedErrors, S = Slots> {
    pub(super) errors: E,
    pub(super) layers: S,
}

impl<E, F, T, R, H, B, A> ReliabilityStack<E, Slots<F, T, R, H, B, A>> {
    /// The handle of the fallback. The method exists exactly when the stack has this stage.
    pub fn fallback(&self) -> F::Handle
    where
        F: HasHandle,
    {
        self.layers.fallback.handle()
    }

    /// The handle of the timeout for the whole call. The method exists exactly when the stack has this stage.
    pub fn timeout(&self) -> T::Handle
    where
        T: HasHandle,
    {
        self.layers.timeout.handle()
    }

    /// The handle of the retry. The method exists exactly when the stack has this stage.
    pub fn retry(&self) -> R::Handle
    where
        R: HasHandle,
    {
        self.layers.retry.handle()
    }

    /// The handle of the hedge. The method exists exactly when the stack has this stage.
    pub fn hedge(&self) -> H::Handle
    where
        H: HasHandle,
    {
        self.layers.hedge.handle()
    }

    /// The handle of the circuit breaker. The method exists exactly when the stack has this stage.
    pub fn circuit_breaker(&self) -> B::Handle
    where
        B: HasHandle,
    {
        self.layers.circuit_breaker.handle()
    }

    /// The handle of the timeout for one attempt. The method exists exactly when the stack has this stage.
    pub fn attempt_timeout(&self) -> A::Handle
    where
        A: HasHandle,
    {
        self.layers.attempt_timeout.handle()
    }
}

impl<Svc, E, F, T, R, H, B, A> Layer<Svc> for ReliabilityStack<E, Slots<F, T, R, H, B, A>>
where
    E: Layer<Svc>,
    A: Layer<E::Service>,
    B: Layer<A::Service>,
    H: Layer<B::Service>,
    R: Layer<H::Service>,
    T: Layer<R::Service>,
    F: Layer<T::Service>,
{
    type Service = F::Service;

    fn layer(&self, inner: Svc) -> F::Service {
        let inner = self.errors.layer(inner);
        let inner = self.layers.attempt_timeout.layer(inner);
        let inner = self.layers.circuit_breaker.layer(inner);
        let inner = self.layers.hedge.layer(inner);
        let inner = self.layers.retry.layer(inner);
        let inner = self.layers.timeout.layer(inner);
        self.layers.fallback.layer(inner)
    }
}

impl<S> Layer<S> for Unused {
    type Service = S;

    fn layer(&self, inner: S) -> S {
        inner
    }
}
