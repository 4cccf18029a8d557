//! The shared state of a guard: its name and its count.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::{
    call::{Reason, Rejected},
    rt::sync::{AtomicU64, Ordering},
    telemetry::{Emitter, EventKind, Listener, Name},
};

/// Reads the count of a guard.
///
/// # Clone
///
/// Clones, and all services and handles of one layer, share the count.
#[derive(Clone, Debug)]
pub struct PanicGuardHandle {
    shared: Arc<PanicGuardShared>,
}

#[derive(Debug)]
struct PanicGuardShared {
    emitter: Emitter,
    /// Relaxed: a number of its own.
    panicked: AtomicU64,
}

/// The count of a guard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PanicGuardSnapshot {
    /// The panics that the guard caught.
    pub panicked: u64,
}

impl PanicGuardHandle {
    pub(super) fn new(emitter: Emitter) -> Self {
        Self { shared: Arc::new(PanicGuardShared { emitter, panicked: AtomicU64::new(0) }) }
    }

    /// The layer's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.shared.emitter.name()
    }

    /// The count.
    #[must_use]
    pub fn snapshot(&self) -> PanicGuardSnapshot {
        PanicGuardSnapshot { panicked: self.shared.panicked.load(Ordering::Relaxed) }
    }

    /// Adds a listener, which hears every [event](super#telemetry) from now on.
    pub fn listen(&self, listener: impl Listener) {
        self.shared.emitter.add(listener);
    }

    /// The same name and listeners, with these listeners added, and a count of its own.
    pub(super) fn joined(&self, name: Name, listeners: &[Arc<dyn Listener>]) -> Self {
        Self::new(self.shared.emitter.joined(name, listeners))
    }

    /// Runs code of the inner service.
    ///
    /// Not unwind-safe by its type: a service that has panicked may be called again. A server has no better choice,
    /// because the clones of a service share their state, and a lock tells of a panic by its poison.
    #[inline]
    pub(super) fn guard<T>(&self, run: impl FnOnce() -> T) -> Result<T, Rejected> {
        catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
            // Dropping the payload runs code of the user, which may panic too.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
            self.reject()
        })
    }

    // Cold: a panic is a defect.
    #[cold]
    fn reject(&self) -> Rejected {
        self.shared.panicked.fetch_add(1, Ordering::Relaxed);
        self.shared.emitter.emit(EventKind::Panicked);
        Rejected::new(self.name().clone(), Reason::Panicked)
    }
}
