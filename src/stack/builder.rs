//! The table of stages, and the builder's settings that are no stages.

use std::sync::Arc;

use tower_layer::{Identity, Layer, Stack};

use super::{
    errors::{Errors, FlatErrors, WrappedErrors},
    plan::Plan,
    slots::stages,
    stage::{Common, Handled, Planned, Stage, Unused},
    wrap::WrapLayer,
};
use crate::{
    call::{CloneRequest, ConfigError, NoDeadline, StandardClassifier},
    circuit_breaker::CircuitBreakerConfig,
    fallback::{FallbackConfig, FallbackLayer},
    hedge::HedgeConfig,
    retry::RetryConfig,
    retry_budget::RetryBudget,
    telemetry::{Listener, Name},
    timeout::TimeoutConfig,
};

// Outermost first. The setter of each stage takes its config, or what becomes one; in brackets stands the layer that a
// setter takes where numbers alone do not say what the stage does.
stages! {
    /// What to answer where a call was turned away or failed: a [`FallbackLayer`] that has been told so.
    ///
    /// It is classified and named by the stack.
    fallback Fall(FallbackConfig) [A: FallbackLayer<A>];

    /// How long the whole call may take, all waiting and all attempts included. Sets the request's deadline, where
    /// [`limits`](Self::limits) knows a place for it.
    timeout Total(TimeoutConfig);

    /// Tries again what failed. [`repeat`](Self::repeat) says how requests are copied, and which may be sent twice.
    ///
    /// Where the whole call has a timeout, no attempt begins after it.
    retry Retries(RetryConfig);

    /// Sends a second request where the first one takes long. It is under the same budget as the retry. Where the stack has
    /// a breaker, an open circuit sends no hedge: all attempts go through that one.
    hedge Hedges(HedgeConfig);

    /// Stops calling a peer that fails.
    circuit_breaker Breaker(CircuitBreakerConfig);

    /// How long one attempt may take: the earlier of this and what remains of the whole call.
    attempt_timeout Attempt(TimeoutConfig);
}
