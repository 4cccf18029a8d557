//! The shared state of a fallback: its numbers, and counts that only failed calls write.

use std::{sync::Arc, time::Duration};

use super::{
    cause::{Cause, cause_of},
    config::FallbackConfig,
    snapshot::{CAUSES, FallbackCounts, FallbackSnapshot},
};
use crate::{
    call::{ConfigError, ErrorClass, ErrorClasses, Outcome, Rejected},
    rt::sync::{AtomicU64, Ordering},
    telemetry::Name,
};

/// A hold on a fallback: look at its counts, change its numbers.
///
/// # Clone
///
/// Clones, and all services and handles of one layer, share the numbers and the counts.
#[derive(Clone, Debug)]
pub struct FallbackHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: Name,
    /// The bits of the classes.
    on: AtomicU64,
    max_entries: AtomicU64,
    /// Nanoseconds.
    ttl: AtomicU64,
    answered: Counters,
    unanswered: Counters,
    abandoned: AtomicU64,
    entries: AtomicU64,
}

type Counters = [AtomicU64; CAUSES];

impl FallbackHandle {
    pub(super) fn new(config: FallbackConfig, name: Name) -> Self {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        let shared = Shared {
            name,
            on: AtomicU64::new(config.on.bits()),
            max_entries: AtomicU64::new(config.max_entries.into()),
            ttl: AtomicU64::new(nanos(config.ttl)),
            answered: zeros(),
            unanswered: zeros(),
            abandoned: AtomicU64::new(0),
            entries: AtomicU64::new(0),
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
    pub fn snapshot(&self) -> FallbackSnapshot {
        FallbackSnapshot {
            answered: read(&self.shared.answered),
            unanswered: read(&self.shared.unanswered),
            abandoned: self.shared.abandoned.load(Ordering::Relaxed),
            entries: self.shared.entries.load(Ordering::Relaxed),
        }
    }

    /// The numbers in force.
    #[must_use]
    pub fn config(&self) -> FallbackConfig {
        let max_entries = self.shared.max_entries.load(Ordering::Relaxed);
        FallbackConfig {
            on: self.classes(),
            max_entries: u32::try_from(max_entries).unwrap_or(u32::MAX),
            ttl: self.ttl(),
        }
    }

    /// Puts other numbers in force for the calls that end from now on.
    ///
    /// Where fewer answers may be held than before, those too many go with the next new one.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule; nothing has changed then.
    pub fn update(&self, config: FallbackConfig) -> Result<(), ConfigError> {
        config.check()?;
        self.shared.on.store(config.on.bits(), Ordering::Relaxed);
        self.shared.max_entries.store(config.max_entries.into(), Ordering::Relaxed);
        self.shared.ttl.store(nanos(config.ttl), Ordering::Relaxed);
        Ok(())
    }

    /// Takes a call that ended like this, if it is one to be answered otherwise.
    pub(super) fn catch(&self, rejected: Option<&Rejected>, outcome: Outcome) -> Option<Caught> {
        let cause = cause_of(self.classes(), rejected, outcome)?;
        Some(Caught { cause, handle: Some(self.clone()) })
    }

    /// The number of answers held has changed.
    pub(super) fn held(&self, before: usize, now: usize) {
        let entries = &self.shared.entries;
        match now.cmp(&before) {
            std::cmp::Ordering::Less => entries.fetch_sub((before - now) as u64, Ordering::Relaxed),
            std::cmp::Ordering::Equal => return,
            std::cmp::Ordering::Greater => entries.fetch_add((now - before) as u64, Ordering::Relaxed),
        };
    }

    pub(super) fn max_entries(&self) -> usize {
        usize::try_from(self.shared.max_entries.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    pub(super) fn ttl(&self) -> Duration {
        Duration::from_nanos(self.shared.ttl.load(Ordering::Relaxed))
    }

    fn classes(&self) -> ErrorClasses {
        ErrorClasses::from_bits(self.shared.on.load(Ordering::Relaxed))
    }
}

/// A call that has been turned to the fallback. It is counted once: how it ended, or else as abandoned.
#[derive(Debug)]
#[must_use]
pub(super) struct Caught {
    cause: Cause,
    /// Taken when it is counted.
    handle: Option<FallbackHandle>,
}

impl Caught {
    pub(super) fn answered(self) {
        self.count(|shared| &shared.answered);
    }

    pub(super) fn unanswered(self) {
        self.count(|shared| &shared.unanswered);
    }

    pub(super) const fn cause(&self) -> Cause {
        self.cause
    }

    fn count(mut self, counters: impl FnOnce(&Shared) -> &Counters) {
        if let Some(handle) = self.handle.take() {
            counters(&handle.shared)[self.cause.counter()].fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.shared.abandoned.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn read(counters: &Counters) -> FallbackCounts {
    let of = |cause: Cause| counters[cause.counter()].load(Ordering::Relaxed);
    FallbackCounts {
        rejected: counters[CAUSES - 1].load(Ordering::Relaxed),
        failed: ErrorClass::ALL.map(|class| of(Cause::Failed(class))),
    }
}

/// More than 584 years are 584 years.
fn nanos(age: Duration) -> u64 {
    u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)
}
