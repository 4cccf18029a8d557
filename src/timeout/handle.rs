//! The shared state of a timeout: its limit, and two counts that only the unlucky calls write.

use std::{sync::Arc, time::Duration};

use super::config::TimeoutConfig;
use crate::{
    call::{ConfigError, Reason, Rejected},
    rt::sync::{AtomicU64, Ordering},
    telemetry::Name,
};

/// A hold on a timeout: look at its counts, change its limit.
///
/// # Clone
///
/// Clones, and all services and handles of one layer, share the limit and the counts.
#[derive(Clone, Debug)]
pub struct TimeoutHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: Name,
    /// Nanoseconds.
    limit: AtomicU64,
    timed_out: AtomicU64,
    deadline_exceeded: AtomicU64,
}

/// How many calls were given up, since the layer was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimeoutSnapshot {
    /// Calls that did not end within the limit.
    pub timed_out: u64,
    /// Calls whose deadline came before the limit, or had passed before they began.
    pub deadline_exceeded: u64,
}

impl TimeoutHandle {
    pub(super) fn new(config: TimeoutConfig, name: Name) -> Self {
        let shared = Shared {
            name,
            limit: AtomicU64::new(nanos(config.limit())),
            timed_out: AtomicU64::new(0),
            deadline_exceeded: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The layer's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.shared.name
    }

    /// The counts.
    #[must_use]
    pub fn snapshot(&self) -> TimeoutSnapshot {
        TimeoutSnapshot {
            timed_out: self.shared.timed_out.load(Ordering::Relaxed),
            deadline_exceeded: self.shared.deadline_exceeded.load(Ordering::Relaxed),
        }
    }

    /// The limit in force.
    #[must_use]
    pub fn limit(&self) -> Duration {
        Duration::from_nanos(self.shared.limit.load(Ordering::Relaxed))
    }

    /// Puts another limit in force for the calls that begin from now on.
    ///
    /// In a stack, what it is to the numbers of other stages is not checked again.
    ///
    /// # Errors
    ///
    /// If the limit is 0; nothing has changed then.
    pub fn update(&self, config: TimeoutConfig) -> Result<(), ConfigError> {
        config.check("limit")?;
        self.shared.limit.store(nanos(config.limit()), Ordering::Relaxed);
        Ok(())
    }

    /// Counts a call that is given up.
    pub(super) fn reject(&self, reason: Reason) -> Rejected {
        let counter = match reason {
            Reason::DeadlineExceeded => &self.shared.deadline_exceeded,
            _ => &self.shared.timed_out,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Rejected::new(self.name().clone(), reason)
    }
}

/// A limit of more than 584 years is one of 584 years.
fn nanos(limit: Duration) -> u64 {
    u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)
}
