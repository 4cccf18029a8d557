//! The timeout of the whole call, and the timeout of an attempt.

use std::time::Duration;

use super::{Common, HasHandle, OptionalStage, Stage};
use crate::{
    call::Protocol,
    timeout::{TimeoutConfig, TimeoutHandle, TimeoutLayer},
};

impl<C, R, D: Clone, Q> Stage<Self, Protocol<C, R, D>, Q> for TimeoutConfig {
    type Layer = TimeoutLayer<D>;

    fn config(&self) -> Option<Self> {
        Some(*self)
    }

    fn assemble(self, name: &'static str, common: &Common<Protocol<C, R, D>, Q>) -> Self::Layer {
        let of_attempt = name == "attempt_timeout";
        // The plan has adapted defaults to the other stages.
        let planned = if of_attempt { common.plan.attempt_timeout } else { common.plan.timeout };
        let layer = TimeoutLayer::checked(planned.unwrap_or(self))
            .deadlines(common.protocol.deadlines.clone())
            .joined(common.name(name), &common.listeners);
        // The total timeout is absolute. The backend of an attempt has the full limit after the upload.
        if of_attempt { layer.after_upload() } else { layer }
    }
}

impl<C, R, D: Clone, Q> OptionalStage<Self, Protocol<C, R, D>, Q> for TimeoutConfig {
    fn absent(common: &Common<Protocol<C, R, D>, Q>) -> Self::Layer {
        TimeoutLayer::checked(Self::new(Duration::MAX)).deadlines(common.protocol.deadlines.clone()).absent()
    }
}

impl<P, Q> OptionalStage<TimeoutConfig, P, Q> for Duration
where
    TimeoutConfig: OptionalStage<TimeoutConfig, P, Q>,
{
    fn absent(common: &Common<P, Q>) -> Self::Layer {
        TimeoutConfig::absent(common)
    }
}

impl<P, Q> Stage<TimeoutConfig, P, Q> for Duration
where
    TimeoutConfig: Stage<TimeoutConfig, P, Q>,
{
    type Layer = <TimeoutConfig as Stage<TimeoutConfig, P, Q>>::Layer;

    fn config(&self) -> Option<TimeoutConfig> {
        Some(TimeoutConfig::new(*self))
    }

    fn assemble(self, name: &'static str, common: &Common<P, Q>) -> Self::Layer {
        TimeoutConfig::new(self).assemble(name, common)
    }
}

impl<D> HasHandle for TimeoutLayer<D> {
    type Handle = TimeoutHandle;

    fn handle(&self) -> TimeoutHandle {
        TimeoutLayer::handle(self)
    }
}
