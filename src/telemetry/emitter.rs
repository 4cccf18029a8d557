//! The name and the listeners of one layer.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{Event, EventKind, Listener, Name, Severity};
use crate::{
    call::{ErrorClass, Priority},
    rt::descent::Scope,
};

/// The name of a layer, and the listeners that hear its events. Every layer with state has one.
///
/// A clone has the same name and listeners; a listener that is added later belongs to one of the two.
pub(crate) struct Emitter {
    name: Name,
    /// The emitter of a keyed layer, whose listeners hear the events of every key.
    parent: Option<Arc<Emitter>>,
    /// Whether there is a listener. Without one, an event takes no lock and allocates nothing.
    heard: AtomicBool,
    /// The standard library's mutex, because a listener changes no decision that shuttle could check.
    listeners: Mutex<Vec<Arc<dyn Listener>>>,
}

impl Emitter {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name: Name::new(name),
            parent: None,
            heard: AtomicBool::new(false),
            listeners: Mutex::default(),
        }
    }

    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// The same listeners and these ones, under another name.
    pub(crate) fn joined(&self, name: Name, listeners: &[Arc<dyn Listener>]) -> Self {
        let mut all = self.own_listeners();
        all.extend_from_slice(listeners);
        let heard = AtomicBool::new(!all.is_empty());
        Self { name, parent: self.parent.clone(), heard, listeners: Mutex::new(all) }
    }

    /// The emitter of one key. The listeners of this one hear its events too, also those that are added later.
    pub(crate) fn of_key(self: &Arc<Self>, name: Name) -> Self {
        let (heard, listeners) = (AtomicBool::new(false), Mutex::default());
        Self { name, parent: Some(Arc::clone(self)), heard, listeners }
    }

    /// Adds a listener, which hears every event from now on.
    pub(crate) fn add(&self, listener: impl Listener) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(listener));
        // Relaxed: the listeners are read under their lock. An event of the same moment may miss the new listener.
        self.heard.store(true, Ordering::Relaxed);
    }

    /// Passes an event to `tracing` and to every listener. No panic of a listener reaches the caller.
    ///
    /// The caller holds no lock: a listener may call the handle of the layer.
    // Cold: a healthy call emits nothing.
    #[cold]
    pub(crate) fn emit(&self, kind: EventKind) {
        let name = &self.name;
        // An event may be emitted from a drop during a panic, where a second panic would abort the process.
        let quietly = |tell: &dyn Fn()| catch_unwind(AssertUnwindSafe(tell)).is_ok();
        quietly(&|| log(name, kind));
        if !self.is_heard() {
            return;
        }
        let event = Event { layer: name.clone(), kind };
        // A listener may take its time, or poll a future.
        let _outside = Scope::new(false);
        for listener in self.listeners() {
            if !quietly(&|| listener.on_event(&event)) {
                quietly(
                    &|| tracing::error!(target: TARGET, layer = %name, "a listener panicked at: {event}"),
                );
            }
        }
    }

    fn is_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed) || self.parent.as_ref().is_some_and(|parent| parent.is_heard())
    }

    /// A copy of the list, so that no lock is held while a listener runs.
    fn listeners(&self) -> Vec<Arc<dyn Listener>> {
        let mut all = self.parent.as_ref().map_or_else(Vec::new, |parent| parent.listeners());
        all.append(&mut self.own_listeners());
        all
    }

    fn own_listeners(&self) -> Vec<Arc<dyn Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Clone for Emitter {
    fn clone(&self) -> Self {
        self.joined(self.name.clone(), &[])
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter")
            .field("name", &self.name)
            .field("listeners", &self.listeners().len())
            .finish_non_exhaustive()
    }
}

/// Writes an event to `tracing`, with its data in fields.
fn log(layer: &Name, kind: EventKind) {
    let (attempt, class, delay) = match kind {
        EventKind::Retried { attempt, class, delay } => (Some(attempt), class, Some(delay)),
        EventKind::Hedged { attempt, class, delay } => (Some(attempt), class, delay),
        EventKind::FellBack { class } => (None, class, None),
        _ => (None, None, None),
    };
    let (priority, waited) = match kind {
        EventKind::Rejected { priority, waited, .. } => (Some(priority), Some(waited)),
        EventKind::SheddingChanged { up_to } => (up_to, None),
        _ => (None, None),
    };
    let (class, delay_ms) = (class.map(ErrorClass::as_str), delay.map(|delay| delay.as_millis()));
    let (priority, waited_ms) = (priority.map(Priority::as_str), waited.map(|waited| waited.as_millis()));
    macro_rules! log {
        ($level:ident) => {
            tracing::$level!(target: TARGET, layer = %layer, event = kind.as_str(), attempt, class, delay_ms, priority, waited_ms, "{layer}: {kind}")
        };
    }
    match kind.severity() {
        Severity::Debug => log!(debug),
        Severity::Info => log!(info),
        Severity::Warning | Severity::Error => log!(warn),
    }
}

/// The target of everything that this crate logs.
pub(crate) const TARGET: &str = "tower_reliability";
