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
    ConfigError, Listener, Name, StandardClassifier, Unlimited, circuit_breaker::CircuitBreakerConfig,
    timeout::TimeoutConfig,
};

// Outermost first. The setter of each stage takes its config, or what becomes one.
stages! {
    /// How long the whole call may take, all waiting and all attempts included. Sets the request's deadline, where
    /// [`limits`](Self::limits) knows a place for it.
    timeout Total(TimeoutConfig);

    /// Stops calling a peer that fails.
    circuit_breaker Breaker(CircuitBreakerConfig);

    /// How long one attempt may take: the earlier of this and what remains of the whole call.
    attempt_timeout Attempt(TimeoutConfig);
}
