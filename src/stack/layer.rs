//! The stack: one layer made of layers.

use tower_layer::Layer;

use super::{boundary::Boundary, errors::WrappedErrors, slots::Slots, stage::Unused};

/// One layer made of layers, in the one order in which they work together.
///
/// `E` says how errors look, and `S` holds the [layers](Slots) of all stages. Made by
/// [`StackBuilder::build`](super::StackBuilder::build).
///
/// # Runtime and panics
///
/// The stack needs a tokio runtime with time if a timeout, a limit, a retry or a hedge has to wait. It does not panic by
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

impl<
    Svc,
    E,
    Fallback,
    Timeout,
    RateLimit,
    ConcurrencyLimit,
    Retry,
    Hedge,
    Pacing,
    CircuitBreaker,
    AttemptTimeout,
> Layer<Svc>
    for ReliabilityStack<
        E,
        Slots<
            Fallback,
            Timeout,
            RateLimit,
            ConcurrencyLimit,
            Retry,
            Hedge,
            Pacing,
            CircuitBreaker,
            AttemptTimeout,
        >,
    >
where
    E: Layer<Boundary<Svc, false>>,
    AttemptTimeout: Layer<E::Service>,
    CircuitBreaker: Layer<AttemptTimeout::Service>,
    Pacing: Layer<CircuitBreaker::Service>,
    Hedge: Layer<Pacing::Service>,
    Retry: Layer<Hedge::Service>,
    ConcurrencyLimit: Layer<Retry::Service>,
    RateLimit: Layer<ConcurrencyLimit::Service>,
    Timeout: Layer<RateLimit::Service>,
    Fallback: Layer<Boundary<Timeout::Service, true>>,
{
    type Service = Fallback::Service;

    fn layer(&self, inner: Svc) -> Fallback::Service {
        let inner = self.errors.layer(Boundary::new(inner));
        let inner = self.layers.attempt_timeout.layer(inner);
        let inner = self.layers.circuit_breaker.layer(inner);
        let inner = self.layers.pacing.layer(inner);
        let inner = self.layers.hedge.layer(inner);
        let inner = self.layers.retry.layer(inner);
        let inner = self.layers.concurrency_limit.layer(inner);
        let inner = self.layers.rate_limit.layer(inner);
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
