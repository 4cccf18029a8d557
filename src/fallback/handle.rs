//! The shared state of a fallback: its numbers, and counts that only failed calls write.

use std::{sync::Arc, time::Duration};

use super::{
    config::FallbackConfig,
    snapshot::FallbackSnapshot,
    state::{Cause, cause_of},
};
use crate::{
    call::{ConfigError, ErrorClasses, Outcome, PerClass},
    rt::sync::{AtomicU64, Ordering},
    telemetry::{Emitter, EventKind, Listener, Name},
};

/// Reads the counts of a fallback and changes its numbers.
///
/// # Clone
///
/// Clones share the numbers and the counts with all services and handles of the layer.
#[derive(Clone, Debug)]
pub struct FallbackHandle {
    shared: Arc<FallbackShared>,
}

/// All loads and stores are relaxed: each number stands for itself, and none publishes other memory.
#[derive(Debug)]
struct FallbackShared {
    emitter: Emitter,
    /// The bits of the classes.
    on: AtomicU64,
    max_entries: AtomicU64,
    /// Nanoseconds.
    ttl: AtomicU64,
    answered_rejections: AtomicU64,
    answered_failures: PerClass<AtomicU64>,
    unanswered: AtomicU64,
    abandoned: AtomicU64,
    entries: AtomicU64,
}

impl FallbackHandle {
    pub(super) fn new(config: FallbackConfig, emitter: Emitter) -> Self {
        let shared = FallbackShared {
            emitter,
            on: AtomicU64::new(config.on.bits()),
            max_entries: AtomicU64::new(config.max_entries.into()),
            ttl: AtomicU64::new(nanos(config.ttl)),
            answered_rejections: AtomicU64::default(),
            answered_failures: PerClass::default(),
            unanswered: AtomicU64::default(),
            abandoned: AtomicU64::default(),
            entries: AtomicU64::default(),
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
    pub fn snapshot(&self) -> FallbackSnapshot {
        FallbackSnapshot {
            answered_rejections: read(&self.shared.answered_rejections),
            answered_failures: self.shared.answered_failures.map(read),
            unanswered: read(&self.shared.unanswered),
            abandoned: read(&self.shared.abandoned),
            entries: read(&self.shared.entries),
        }
    }

    /// The numbers in force.
    #[must_use]
    pub fn config(&self) -> FallbackConfig {
        FallbackConfig {
            on: self.classes(),
            max_entries: u32::try_from(read(&self.shared.max_entries)).unwrap_or(u32::MAX),
            ttl: Duration::from_nanos(read(&self.shared.ttl)),
        }
    }

    /// Puts other numbers in force, for calls that end from now on.
    ///
    /// After `max_entries` was lowered, the surplus answers go with the next new one.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule. Nothing has changed then.
    pub fn update(&self, config: FallbackConfig) -> Result<(), ConfigError> {
        config.check()?;
        self.shared.on.store(config.on.bits(), Ordering::Relaxed);
        self.shared.max_entries.store(config.max_entries.into(), Ordering::Relaxed);
        self.shared.ttl.store(nanos(config.ttl), Ordering::Relaxed);
        self.shared.emitter.emit(EventKind::Reconfigured);
        Ok(())
    }

    /// Adds a listener, which hears every [event](super#telemetry) from now on.
    pub fn listen(&self, listener: impl Listener) {
        self.shared.emitter.add(listener);
    }

    /// The same numbers, name and listeners, with these listeners added, and counts of its own.
    pub(super) fn joined(&self, name: Name, listeners: &[Arc<dyn Listener>]) -> Self {
        Self::new(self.config(), self.shared.emitter.joined(name, listeners))
    }

    /// Catches a call with this result, if the fallback answers it.
    ///
    /// # Errors
    ///
    /// Returns the handle if the result stays as it is.
    pub(super) fn catch(self, is_rejected: bool, outcome: Outcome) -> Result<Caught, Self> {
        match cause_of(self.classes(), is_rejected, outcome) {
            Some(cause) => Ok(Caught { cause, handle: self, is_over: false }),
            None => Err(self),
        }
    }

    fn classes(&self) -> ErrorClasses {
        ErrorClasses::from_bits(read(&self.shared.on))
    }

    /// The last good answers are this many now. The caller holds their lock.
    pub(super) fn set_entries(&self, count: usize) {
        self.shared.entries.store(count as u64, Ordering::Relaxed);
    }
}

/// A call that the fallback answers. It counts once: by its end, or as abandoned.
#[derive(Debug)]
#[must_use]
pub(super) struct Caught {
    cause: Cause,
    pub(super) handle: FallbackHandle,
    is_over: bool,
}

impl Caught {
    pub(super) fn end(mut self, is_answered: bool) {
        self.is_over = true;
        let shared = &self.handle.shared;
        let counter = match self.cause {
            _ if !is_answered => &shared.unanswered,
            Cause::Rejected => &shared.answered_rejections,
            Cause::Failed(class) => &shared.answered_failures[class],
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if is_answered {
            shared.emitter.emit(EventKind::FellBack { class: self.cause.class() });
        }
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        if !self.is_over {
            self.handle.shared.abandoned.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn read(number: &AtomicU64) -> u64 {
    number.load(Ordering::Relaxed)
}

/// An age above 584 years counts as 584 years.
fn nanos(age: Duration) -> u64 {
    u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)
}
