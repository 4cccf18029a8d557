//! What happened inside a layer, as data, and those who want to know.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::telemetry::{CircuitState, CircuitTransition, Name, Trip};

/// Something that happened inside a layer and that is rare enough to be told one by one.
///
/// What happens with every call is counted instead; ask a layer's handle for a `snapshot()`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The name of the layer it happened in.
    pub layer: Name,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A circuit moved to another state. There is exactly one such event per transition.
    CircuitChanged(CircuitTransition),
    /// A circuit in shadow mode would have opened.
    CircuitWouldTrip(Trip),
    /// A keyed layer holds as many keys as it may, all of them busy or troubled: calls with a new key pass
    /// unprotected until one of them rests.
    KeysExhausted {
        /// How many keys it may hold.
        max_keys: usize,
    },
    /// The numbers of a layer were changed while it ran.
    Reconfigured,
}

/// How much an event should worry somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Worth a look.
    Warning,
    /// Calls are being turned away.
    Error,
}

impl Event {
    /// How much it should worry somebody.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self.kind {
            EventKind::CircuitChanged(CircuitTransition { to, .. }) => match to {
                CircuitState::Open => Severity::Error,
                CircuitState::ForcedOpen => Severity::Warning,
                _ => Severity::Info,
            },
            EventKind::CircuitWouldTrip(_) | EventKind::KeysExhausted { .. } => Severity::Warning,
            EventKind::Reconfigured => Severity::Info,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.layer)?;
        match self.kind {
            EventKind::CircuitChanged(CircuitTransition { from, to, trip: Some(trip), .. }) => {
                write!(f, "circuit {from} -> {to} ({trip})")
            }
            EventKind::CircuitChanged(CircuitTransition { from, to, .. }) => {
                write!(f, "circuit {from} -> {to}")
            }
            EventKind::CircuitWouldTrip(trip) => write!(f, "circuit would have opened ({trip})"),
            EventKind::KeysExhausted { max_keys } => {
                write!(f, "all {max_keys} keys are in use, new ones pass unprotected")
            }
            EventKind::Reconfigured => f.write_str("reconfigured"),
        }
    }
}

/// Somebody who wants to know what happens.
///
/// It is called on the thread on which the event happened, after every lock is free; so it may ask the layer's
/// handle anything, and should be quick. A panic in it is caught and logged. Every
/// `Fn(&Event) + Send + Sync` is a listener.
pub trait Listener: Send + Sync + 'static {
    /// Is told of one event.
    fn on_event(&self, event: &Event);
}

impl<F> Listener for F
where
    F: Fn(&Event) + Send + Sync + 'static,
{
    fn on_event(&self, event: &Event) {
        self(event);
    }
}

/// Those who listen to a layer. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Listeners(Vec<Arc<dyn Listener>>);

impl Listeners {
    pub(crate) fn add(&mut self, listener: Arc<dyn Listener>) {
        self.0.push(listener);
    }

    /// Tells `tracing` and every listener. Nothing that a listener does reaches the caller.
    pub(crate) fn emit(&self, layer: &Name, kind: EventKind) {
        let event = Event { layer: layer.clone(), kind };
        // An event may be emitted from a drop during a panic, where a second panic would abort the process.
        let quietly = |tell: &dyn Fn()| catch_unwind(AssertUnwindSafe(tell)).is_ok();
        quietly(&|| match event.severity() {
            Severity::Info => tracing::info!(target: "tower_reliability", layer = %layer, "{event}"),
            Severity::Warning | Severity::Error => {
                tracing::warn!(target: "tower_reliability", layer = %layer, "{event}");
            }
        });
        for listener in &self.0 {
            if !quietly(&|| listener.on_event(&event)) {
                quietly(&|| {
                    tracing::error!(target: "tower_reliability", layer = %layer, "a listener panicked at: {event}");
                });
            }
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} listeners", self.0.len())
    }
}
