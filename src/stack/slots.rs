//! One slot per stage: the setters that fill them, and the assembly of the layers.
//!
//! A further stage adds an entry to the list in this file and two lines to `layer.rs`. It needs a [`Stage`] in `stage/`,
//! its numbers in `plan.rs` and its key in `config.rs`. The compiler finds every place that still lacks the stage.

use super::{
    builder::StackBuilder,
    layer::ReliabilityStack,
    plan::{Keys, Plan},
    stage::{Common, HasHandle, Stage, Unused},
};
use crate::{
    call::ConfigError, circuit_breaker::CircuitBreakerConfig, concurrency_limit::ConcurrencyLimitConfig,
    fallback::FallbackConfig, hedge::HedgeConfig, rate_limit::RateLimitConfig, retry::RetryConfig,
    timeout::TimeoutConfig,
};

/// Writes the slots, their setters, the accessors of the handles, and the assembly, from one entry per stage.
///
/// Rust cannot change one type parameter of a struct and repeat the others, so each stage would lengthen every setter.
macro_rules! slots {
    ($($(#[$page:meta])* $slot:ident: $Slot:ident of $Config:ty,)+) => {
        /// The stages of a stack, outermost first. Each is [`Unused`], or a config, or a layer.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Slots<$($Slot = Unused,)+> {
            $(pub(super) $slot: $Slot,)+
        }

        impl<P, E, Q, $($Slot,)+> StackBuilder<P, E, Slots<$($Slot,)+>, Q> {
            setters! { () $($(#[$page])* $slot: $Slot of $Config,)+ }
        }

        // `-> $Slot::Handle` would be shorter, but then the compiler hides the message of `HasHandle` behind its own.
        impl<E, $($Slot,)+> ReliabilityStack<E, Slots<$($Slot,)+>> {
            $(
                #[doc = concat!("The handle of the stage `", stringify!($slot), "`.")]
                ///
                /// The method exists exactly when the stack has this stage.
                pub fn $slot<Handle>(&self) -> Handle
                where
                    $Slot: HasHandle<Handle = Handle>,
                {
                    self.layers.$slot.handle()
                }
            )+
        }

        impl<P, Q, $($Slot,)+> Stages<P, Q> for Slots<$($Slot,)+>
        where
            $($Slot: Stage<$Config, P, Q>,)+
        {
            type Layers = Slots<$($Slot::Layer,)+>;

            fn assemble(self, mut common: Common<P, Q>) -> Result<Self::Layers, ConfigError> {
                let keys = Keys {
                    rate_limit: self.rate_limit.key(),
                    pacing: self.pacing.key(),
                    retry: self.retry.key(),
                    hedge: self.hedge.key(),
                    circuit_breaker: self.circuit_breaker.key(),
                };
                common.plan = Plan {
                    $($slot: self.$slot.config(),)+
                    keys,
                }
                .checked()?;
                Ok(Slots { $($slot: self.$slot.assemble(stringify!($slot), &common),)+ })
            }
        }
    };
}

/// The setter of the first stage of a list; the outer stages are in parentheses. Then the setters of the others.
macro_rules! setters {
    (($($outer:ident: $Outer:ident,)*)) => {};
    (
        ($($outer:ident: $Outer:ident,)*)
        $(#[$page:meta])* $slot:ident: $Slot:ident of $Config:ty,
        $($(#[$inner_page:meta])* $inner:ident: $Inner:ident of $InnerConfig:ty,)*
    ) => {
        $(#[$page])*
        pub fn $slot<New>(self, stage: New) -> StackBuilder<P, E, Slots<$($Outer,)* New, $($Inner,)*>, Q>
        where
            New: Stage<$Config, P, Q>,
        {
            self.change_slots(|Slots { $($outer,)* $slot: _, $($inner,)* }| {
                Slots { $($outer,)* $slot: stage, $($inner,)* }
            })
        }

        setters! {
            ($($outer: $Outer,)* $slot: $Slot,)
            $($(#[$inner_page])* $inner: $Inner of $InnerConfig,)*
        }
    };
}

slots! {
    /// Answers rejected and failed calls: a [`FallbackLayer`](crate::fallback::FallbackLayer) that knows its answer.
    ///
    /// The stack sets the layer's name and classifier. Default: no fallback.
    fallback: Fallback of FallbackConfig,

    /// Limits the whole call, with all waiting and all attempts.
    ///
    /// The timeout also sets the deadline of the request, if [`deadlines`](Self::deadlines) knows a place for it. A
    /// short limit cuts off retries. Above 0. Default: no limit.
    timeout: Timeout of TimeoutConfig,

    /// Limits the rate of calls: each takes its tokens once, before all its attempts.
    ///
    /// A call without tokens waits in a queue, or is rejected. The wait spends the [`timeout`](Self::timeout). The queue
    /// reads priorities from [`priority`](Self::priority) and deadlines from [`deadlines`](Self::deadlines).
    /// [`cost`](RateLimitConfig::cost) reads how many tokens a request takes, and [`PerKey`](super::PerKey) gives each
    /// tenant a limit. For the quota of a provider, which counts attempts, use [`pacing`](Self::pacing). Default: no limit.
    rate_limit: RateLimit of RateLimitConfig,

    /// Limits how many calls are in flight at once. Further calls wait in a queue, or are rejected.
    ///
    /// A call holds one permit for all its attempts. The queue reads priorities from [`priority`](Self::priority) and
    /// deadlines from [`deadlines`](Self::deadlines). The permit of a response that the classifier defers returns at the
    /// end of its body. [`PerKey`](super::PerKey) gives each tenant a limit. Default: no limit.
    concurrency_limit: ConcurrencyLimit of ConcurrencyLimitConfig,

    /// Retries failed calls, under the [`retry_budget`](Self::retry_budget) of the stack.
    ///
    /// Each attempt passes the breaker. No attempt starts after the [`timeout`](Self::timeout) of the whole call.
    /// [`PerKey`](super::PerKey) gives each host a budget. Default: no retry.
    retry: Retry of RetryConfig,

    /// Sends a second request beside a slow one, under the same budget as the retry.
    ///
    /// All attempts of a stack pass one breaker, so an open circuit triggers no hedge. Default: no hedge.
    hedge: Hedge of HedgeConfig,

    /// Limits the rate of attempts, retries and hedges included, as the quota of a provider does.
    ///
    /// It takes the same numbers as [`rate_limit`](Self::rate_limit). An attempt that waits for its turn is no call of the
    /// backend: the [breaker](Self::circuit_breaker) and the [attempt timeout](Self::attempt_timeout) count from the end of
    /// the wait. The hedge counts the wait, because the caller does. An attempt that would wait beyond the deadline of the
    /// request is rejected at once. The retry repeats a rejected attempt only at
    /// [other endpoints](RetryConfig::other_endpoints); otherwise the rejection is the answer of the call. So let attempts
    /// [wait](RateLimitConfig::max_wait) if the stack retries. A limit that [adapts](RateLimitConfig::adaptive) learns the
    /// quota from the answers of the provider. Default: no limit.
    pacing: Pacing of RateLimitConfig,

    /// Rejects calls while the backend fails. [`PerKey`](super::PerKey) gives each host a circuit. Default: no breaker.
    circuit_breaker: CircuitBreaker of CircuitBreakerConfig,

    /// Limits one attempt: to this, or to the rest of the whole call if that is shorter.
    ///
    /// The breaker counts an attempt that takes longer as a failure. At most [`timeout`](Self::timeout), and above 0.
    /// Default: no limit.
    attempt_timeout: AttemptTimeout of TimeoutConfig,
}

/// The [`Slots`] of a builder, each of which holds a [`Stage`]. Not for implementation outside this crate.
pub trait Stages<P, Q> {
    /// The [`Slots`] of the built stack, each of which holds a layer.
    type Layers;

    #[doc(hidden)]
    fn assemble(self, common: Common<P, Q>) -> Result<Self::Layers, ConfigError>;
}
