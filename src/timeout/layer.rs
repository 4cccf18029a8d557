//! The layer.

use tower_layer::Layer;

use super::{config::TimeoutConfig, handle::TimeoutHandle, service::Timeout};
use crate::{
    call::{ConfigError, NoDeadline},
    telemetry::Name,
};

/// Puts a [`Timeout`] around a service. Made by [`TimeoutConfig::build`].
///
/// # Clone
///
/// All services made by this layer and by its clones share one limit and its counts.
#[derive(Clone, Debug)]
pub struct TimeoutLayer<L = NoDeadline> {
    deadlines: L,
    handle: TimeoutHandle,
}

impl TimeoutConfig {
    /// Checks the number and makes the layer.
    ///
    /// # Errors
    ///
    /// If the limit is 0.
    pub fn build(self) -> Result<TimeoutLayer, ConfigError> {
        self.check("limit")?;
        Ok(TimeoutLayer::checked(self))
    }
}

impl TimeoutLayer {
    /// The config has been checked.
    pub(crate) fn checked(config: TimeoutConfig) -> Self {
        Self { deadlines: NoDeadline, handle: TimeoutHandle::new(config, Name::new("timeout")) }
    }
}

impl<L> TimeoutLayer<L> {
    /// Learns from each request its deadline, or a limit of its own, and hands the deadline on.
    ///
    /// A closure `Fn(&Req) -> Option<Duration>` gives a limit of its own; see [`DeadlineSource`](crate::DeadlineSource) for the
    /// rest. Default: [`NoDeadline`].
    pub fn deadlines<M>(self, deadlines: M) -> TimeoutLayer<M> {
        TimeoutLayer { deadlines, handle: self.handle }
    }

    /// What rejections call it, with counts of its own from then on. Default: `timeout`.
    #[must_use]
    pub fn named(self, name: impl Into<Name>) -> Self {
        let config = TimeoutConfig::new(self.handle.limit());
        Self { handle: TimeoutHandle::new(config, name.into()), ..self }
    }

    /// A hold on the limit and the counts of this layer.
    #[must_use]
    pub fn handle(&self) -> TimeoutHandle {
        self.handle.clone()
    }
}

impl<S, L: Clone> Layer<S> for TimeoutLayer<L> {
    type Service = Timeout<S, L>;

    fn layer(&self, inner: S) -> Self::Service {
        Timeout::new(inner, self.deadlines.clone(), self.handle())
    }
}
