//! The layer.

use std::sync::Arc;

use tower_layer::Layer;

use super::{config::TimeoutConfig, handle::TimeoutHandle, service::Timeout};
use crate::{
    call::{ConfigError, NoDeadline},
    telemetry::{Emitter, Listener, Name},
};

/// Puts a [`Timeout`] around a service. Made by [`TimeoutConfig::build`].
///
/// # Clone
///
/// All services made by this layer and by its clones share one limit and its counts.
///
/// # Panics
///
/// Building and calling do not panic. The [future](super::future::ResponseFuture) of a call that waits needs a tokio
/// runtime with time enabled.
#[derive(Clone, Debug)]
pub struct TimeoutLayer<L = NoDeadline> {
    deadlines: L,
    after_upload: bool,
    is_absent: bool,
    handle: TimeoutHandle,
}

impl TimeoutConfig {
    /// Checks the limit and makes the layer.
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
    /// The layer for a checked config.
    pub(crate) fn checked(config: TimeoutConfig) -> Self {
        let handle = TimeoutHandle::new(config, Emitter::new("timeout"));
        Self { deadlines: NoDeadline, after_upload: false, is_absent: false, handle }
    }
}

impl<L> TimeoutLayer<L> {
    /// Reads from each request its deadline and its own limit, and hands the deadline on to inner layers.
    ///
    /// A closure `Fn(&Req) -> Option<Duration>` gives a limit per request. A
    /// [`DeadlineSource`](crate::DeadlineSource) gives all of it. Default: [`NoDeadline`].
    pub fn deadlines<M>(self, deadlines: M) -> TimeoutLayer<M> {
        let Self { deadlines: _, after_upload, is_absent, handle } = self;
        TimeoutLayer { deadlines, after_upload, is_absent, handle }
    }

    /// Counts the limit from the last progress of the request's upload.
    ///
    /// A long but steady upload is not cut, and the backend has the full limit after the upload. An upload without
    /// progress for the limit ends the call as [`UploadStalled`](crate::Reason::UploadStalled), which does not count
    /// against the backend. A call may then take longer than the limit; deadlines stay absolute. Add a total timeout,
    /// or a client that sends one byte at a time can hold a call for as long as it likes.
    ///
    /// It needs a [deadline source](Self::deadlines) that knows uploads, such as `http::RequestExtensions`, and an outer
    /// `http::ReplayLayer`. The stack sets it for its attempt timeout. Default: off, the limit counts from the call.
    #[must_use]
    pub fn after_upload(mut self) -> Self {
        self.after_upload = true;
        self
    }

    /// The layer of an optional stage that is left out: it hands every call on.
    pub(crate) fn absent(mut self) -> Self {
        self.is_absent = true;
        self
    }

    /// Names the layer in rejections and events. Its counts start at zero again. Default: `timeout`.
    #[must_use]
    pub fn named(self, name: impl Into<Name>) -> Self {
        self.joined(name.into(), &[])
    }

    /// Adds a listener, which hears every [event](super#telemetry) of the layer.
    ///
    /// A layer that is in use stays as it is; the returned layer has a limit and counts of its own.
    #[must_use]
    pub fn listen(self, listener: impl Listener) -> Self {
        let name = self.handle.name().clone();
        self.joined(name, &[Arc::new(listener)])
    }

    /// The same layer under this name, with these listeners besides its own.
    pub(crate) fn joined(self, name: Name, listeners: &[Arc<dyn Listener>]) -> Self {
        Self { handle: self.handle.joined(name, listeners), ..self }
    }

    /// A handle of this layer's limit and counts.
    #[must_use]
    pub fn handle(&self) -> TimeoutHandle {
        self.handle.clone()
    }
}

impl<S, L: Clone> Layer<S> for TimeoutLayer<L> {
    type Service = Timeout<S, L>;

    fn layer(&self, inner: S) -> Self::Service {
        Timeout::new(inner, self.deadlines.clone(), self.after_upload, self.is_absent, self.handle())
    }
}
