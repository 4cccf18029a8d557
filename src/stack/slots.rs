//! One slot per stage: the setters that fill them, and the assembly of the layers.
//!
//! A further stage adds a field to [`Slots`] and a setter here, and an accessor and a line in `layer.rs`. It needs a
//! [`Stage`] in `stage.rs` and its numbers in `plan.rs`. The compiler finds every place that still lacks the field.

use super::{
    builder::StackBuilder,
    plan::Plan,
    stage::{Common, Stage, Unused},
};
use crate::{
    call::ConfigError, circuit_breaker::CircuitBreakerConfig, fallback::FallbackConfig, hedge::HedgeConfig,
    retry::RetryConfig, timeout::TimeoutConfig,
};

/// The stages of a stack, outermost first. Each is [`Unused`], or a config, or a layer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slots<
    Fallback = Unused,
    Timeout = Unused,
    Retry = Unused,
    Hedge = Unused,
    CircuitBreaker = Unused,
    AttemptTimeout = Unused,
> {
    pub(super) fallback: Fallback,
    pub(super) timeout: Timeout,
    pub(super) retry: Retry,
    pub(super) hedge: Hedge,
    pub(super) circuit_breaker: CircuitBreaker,
    pub(super) attempt_timeout: AttemptTimeout,
}

impl<P, E, F, T, R, H, B, A> StackBuilder<P, E, Slots<F, T, R, H, B, A>> {
    /// Answers rejected and failed calls: a [`FallbackLayer`](crate::fallback::FallbackLayer) that knows its answer.
    ///
    /// The stack sets the layer's name and classifier. Default: no fallback.
    pub fn fallback<L>(self, layer: L) -> StackBuilder<P, E, Slots<L, T, R, H, B, A>> {
        self.change_slots(|Slots { fallback: _, timeout, retry, hedge, circuit_breaker, attempt_timeout }| {
            Slots { fallback: layer, timeout, retry, hedge, circuit_breaker, attempt_timeout }
        })
    }

    /// Limits the whole call, with all waiting and all attempts.
    ///
    /// The timeout also sets the deadline of the request, if [`deadlines`](Self::deadlines) knows a place for it. A
    /// short limit cuts off retries. Above 0. Default: no limit.
    pub fn timeout<N>(self, config: N) -> StackBuilder<P, E, Slots<F, N, R, H, B, A>>
    where
        N: Stage<TimeoutConfig, P>,
    {
        self.change_slots(|Slots { fallback, timeout: _, retry, hedge, circuit_breaker, attempt_timeout }| {
            Slots { fallback, timeout: config, retry, hedge, circuit_breaker, attempt_timeout }
        })
    }

    /// Retries failed calls, under the [`retry_budget`](Self::retry_budget) of the stack.
    ///
    /// Each attempt passes the breaker. No attempt starts after the [`timeout`](Self::timeout) of the whole call.
    /// [`PerKey`](super::PerKey) gives each host a budget. Default: no retry.
    pub fn retry<N>(self, config: N) -> StackBuilder<P, E, Slots<F, T, N, H, B, A>>
    where
        N: Stage<RetryConfig, P>,
    {
        self.change_slots(|Slots { fallback, timeout, retry: _, hedge, circuit_breaker, attempt_timeout }| {
            Slots { fallback, timeout, retry: config, hedge, circuit_breaker, attempt_timeout }
        })
    }

    /// Sends a second request beside a slow one, under the same budget as the retry.
    ///
    /// All attempts of a stack pass one breaker, so an open circuit triggers no hedge. Default: no hedge.
    pub fn hedge<N>(self, config: N) -> StackBuilder<P, E, Slots<F, T, R, N, B, A>>
    where
        N: Stage<HedgeConfig, P>,
    {
        self.change_slots(|Slots { fallback, timeout, retry, hedge: _, circuit_breaker, attempt_timeout }| {
            Slots { fallback, timeout, retry, hedge: config, circuit_breaker, attempt_timeout }
        })
    }

    /// Rejects calls while the backend fails. [`PerKey`](super::PerKey) gives each host a circuit. Default: no breaker.
    pub fn circuit_breaker<N>(self, config: N) -> StackBuilder<P, E, Slots<F, T, R, H, N, A>>
    where
        N: Stage<CircuitBreakerConfig, P>,
    {
        self.change_slots(|Slots { fallback, timeout, retry, hedge, circuit_breaker: _, attempt_timeout }| {
            Slots { fallback, timeout, retry, hedge, circuit_breaker: config, attempt_timeout }
        })
    }

    /// Limits one attempt: to this, or to the rest of the whole call if that is shorter.
    ///
    /// The breaker counts an attempt that takes longer as a failure. At most [`timeout`](Self::timeout), and above 0.
    /// Default: no limit.
    pub fn attempt_timeout<N>(self, config: N) -> StackBuilder<P, E, Slots<F, T, R, H, B, N>>
    where
        N: Stage<TimeoutConfig, P>,
    {
        self.change_slots(|Slots { fallback, timeout, retry, hedge, circuit_breaker, attempt_timeout: _ }| {
            Slots { fallback, timeout, retry, hedge, circuit_breaker, attempt_timeout: config }
        })
    }
}

/// The [`Slots`] of a builder, each of which holds a [`Stage`]. Not for implementation outside this crate.
pub trait Stages<P> {
    /// The [`Slots`] of the built stack, each of which holds a layer.
    type Layers;

    #[doc(hidden)]
    fn assemble(self, common: Common<P>) -> Result<Self::Layers, ConfigError>;
}

impl<P, F, T, R, H, B, A> Stages<P> for Slots<F, T, R, H, B, A>
where
    F: Stage<FallbackConfig, P>,
    T: Stage<TimeoutConfig, P>,
    R: Stage<RetryConfig, P>,
    H: Stage<HedgeConfig, P>,
    B: Stage<CircuitBreakerConfig, P>,
    A: Stage<TimeoutConfig, P>,
{
    type Layers = Slots<F::Layer, T::Layer, R::Layer, H::Layer, B::Layer, A::Layer>;

    fn assemble(self, mut common: Common<P>) -> Result<Self::Layers, ConfigError> {
        common.plan = Plan {
            fallback: self.fallback.config(),
            timeout: self.timeout.config(),
            retry: self.retry.config(),
            hedge: self.hedge.config(),
            circuit_breaker: self.circuit_breaker.config(),
            attempt_timeout: self.attempt_timeout.config(),
            only_breaker_is_keyed: self.circuit_breaker.is_keyed() && !self.retry.is_keyed(),
        }
        .checked()?;
        Ok(Slots {
            fallback: self.fallback.assemble("fallback", &common),
            timeout: self.timeout.assemble("timeout", &common),
            retry: self.retry.assemble("retry", &common),
            hedge: self.hedge.assemble("hedge", &common),
            circuit_breaker: self.circuit_breaker.assemble("circuit_breaker", &common),
            attempt_timeout: self.attempt_timeout.assemble("attempt_timeout", &common),
        })
    }
}
