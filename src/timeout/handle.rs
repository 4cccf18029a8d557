//! The shared state of a timeout: its limit, and counts that only rejected calls write.

use std::{sync::Arc, time::Duration};

use super::config::TimeoutConfig;
use crate::{
    call::{ConfigError, Reason, Rejected},
    rt::sync::{AtomicU64, Ordering},
    telemetry::{Emitter, EventKind, Listener, Name},
};

/// Reads the counts of a timeout and changes its limit.
///
/// # Clone
///
/// Clones, and all services and handles of one layer, share the limit and the counts.
#[derive(Clone, Debug)]
pub struct TimeoutHandle {
    shared: Arc<TimeoutShared>,
}

// All atomics are relaxed: each is a number of its own, and no other memory depends on it.
#[derive(Debug)]
struct TimeoutShared {
    emitter: Emitter,
    /// Nanoseconds.
    limit: AtomicU64,
    timed_out: AtomicU64,
    deadline_exceeded: AtomicU64,
    upload_stalled: AtomicU64,
}

/// The calls that a timeout has ended, since the layer was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TimeoutSnapshot {
    /// Calls without an answer within the limit.
    pub timed_out: u64,
    /// Calls whose deadline came before the limit, or had passed before they began.
    pub deadline_exceeded: u64,
    /// Calls whose upload made no progress for the limit.
    pub upload_stalled: u64,
}

impl TimeoutHandle {
    pub(super) fn new(config: TimeoutConfig, emitter: Emitter) -> Self {
        let shared = TimeoutShared {
            emitter,
            limit: AtomicU64::new(nanos(config.limit())),
            timed_out: AtomicU64::new(0),
            deadline_exceeded: AtomicU64::new(0),
            upload_stalled: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The layer's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.shared.emitter.name()
    }

    /// The counts.
    #[must_use]
    pub fn snapshot(&self) -> TimeoutSnapshot {
        TimeoutSnapshot {
            timed_out: self.shared.timed_out.load(Ordering::Relaxed),
            deadline_exceeded: self.shared.deadline_exceeded.load(Ordering::Relaxed),
            upload_stalled: self.shared.upload_stalled.load(Ordering::Relaxed),
        }
    }

    /// The current limit.
    #[must_use]
    pub fn limit(&self) -> Duration {
        Duration::from_nanos(self.shared.limit.load(Ordering::Relaxed))
    }

    /// Sets another limit for the calls that begin from now on.
    ///
    /// A stack does not check the new limit against its other stages.
    ///
    /// # Errors
    ///
    /// If the limit is 0. The old limit then stays in force.
    pub fn update(&self, config: TimeoutConfig) -> Result<(), ConfigError> {
        config.check("limit")?;
        self.shared.limit.store(nanos(config.limit()), Ordering::Relaxed);
        self.shared.emitter.emit(EventKind::Reconfigured);
        Ok(())
    }

    /// Adds a listener, which hears every [event](super#telemetry) from now on.
    pub fn listen(&self, listener: impl Listener) {
        self.shared.emitter.add(listener);
    }

    /// The same name and listeners, with these listeners added, and counts of its own.
    pub(super) fn joined(&self, name: Name, listeners: &[Arc<dyn Listener>]) -> Self {
        Self::new(TimeoutConfig::new(self.limit()), self.shared.emitter.joined(name, listeners))
    }

    /// Counts a call that the timeout ends.
    pub(super) fn reject(&self, reason: Reason) -> Rejected {
        let counter = match reason {
            Reason::DeadlineExceeded => &self.shared.deadline_exceeded,
            Reason::UploadStalled { .. } => &self.shared.upload_stalled,
            _ => &self.shared.timed_out,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.shared.emitter.emit(EventKind::TimedOut { reason });
        Rejected::new(self.name().clone(), reason)
    }
}

/// The limit in nanoseconds, at most 584 years.
fn nanos(limit: Duration) -> u64 {
    u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)
}
