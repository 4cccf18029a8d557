//! The layer.

use tower_layer::Layer;

use super::{config::FaultConfig, failure::NoFailure, handle::FaultHandle, service::Faults};
use crate::call::ConfigError;

/// Puts [`Faults`] around a service. Made by [`FaultConfig::build`] and [`FaultConfig::build_failing`].
///
/// # Clone
///
/// All services made by this layer and by its clones share the numbers, the random numbers and the counts.
///
/// # Panics
///
/// Building and calling do not panic. The [future](super::future::ResponseFuture) of a call with a latency needs a tokio
/// runtime with time enabled.
#[derive(Clone, Debug)]
pub struct FaultLayer<F = NoFailure> {
    failure: F,
    handle: FaultHandle,
}

impl FaultConfig {
    /// Checks the numbers and makes a layer that delays calls and lets them hang.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule. The failure rate must be 0.
    pub fn build(self) -> Result<FaultLayer, ConfigError> {
        self.check(false)?;
        Ok(FaultLayer { failure: NoFailure, handle: FaultHandle::new(self, false) })
    }

    /// Checks the numbers and makes a layer that also fails calls, each with a result of this closure.
    ///
    /// The result has the types of the inner service. It may be an error, or a response such as a 503.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule.
    pub fn build_failing<Res, Err, F>(self, failure: F) -> Result<FaultLayer<F>, ConfigError>
    where
        F: Fn() -> Result<Res, Err>,
    {
        self.check(true)?;
        Ok(FaultLayer { failure, handle: FaultHandle::new(self, true) })
    }
}

impl<F> FaultLayer<F> {
    /// The handle of this layer's faults.
    #[must_use]
    pub fn handle(&self) -> FaultHandle {
        self.handle.clone()
    }
}

impl<S, F: Clone> Layer<S> for FaultLayer<F> {
    type Service = Faults<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Faults::new(inner, self.failure.clone(), self.handle())
    }
}
