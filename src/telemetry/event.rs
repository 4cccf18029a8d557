//! Events inside a layer, as data, and their listeners.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::{
    rt::descent::Scope,
    telemetry::{CircuitState, CircuitTransition, Name, Trip},
};

/// A rare event inside a layer, such as a circuit that opens. Only breakers emit events so far.
///
/// Each event also goes to `tracing`, with the target `tower_reliability`. Layers count the events of every call instead: the `snapshot()` of a layer's handle has the counts. `Display` prints
/// the event as one line, with the name escaped.
///
/// Clones share the name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The name of the layer.
    pub layer: Name,
    /// The kind of event, with its data.
    pub kind: EventKind,
}

/// The kind of an [`Event`], with its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A circuit changed its state. Each transition emits exactly one such event.
    CircuitChanged(CircuitTransition),
    /// A circuit in shadow mode would have opened.
    CircuitWouldTrip(Trip),
    /// A keyed layer is full, and it can evict no key. Calls with a new key pass unprotected until it can.
    KeysExhausted {
        /// The maximum number of keys.
        max_keys: usize,
    },
    /// A handle changed the numbers of a running circuit.
    Reconfigured,
}

/// The severity of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Normal operation.
    Info,
    /// An operator should look at it.
    Warning,
    /// The layer rejects calls.
    Error,
}

impl Event {
    /// The severity, given by the kind.
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
                write!(f, "none of the {max_keys} keys can be evicted, calls with new keys pass unprotected")
            }
            EventKind::Reconfigured => f.write_str("reconfigured"),
        }
    }
}

/// A receiver of events. Every `Fn(&Event) + Send + Sync` is a listener. A closure must name the type of its argument:
///
/// ```
/// use tower_reliability::{Event, Severity, circuit_breaker::CircuitBreakerConfig};
///
/// let breaker = CircuitBreakerConfig::new().build()?.listen(|event: &Event| {
///     if event.severity() == Severity::Error {
///         eprintln!("{event}");
///     }
/// });
/// # let _ = breaker;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
///
/// The layer calls it on the thread of the event, after every lock is free. So a listener may call the layer's handle.
/// The listener should be quick, because the call waits for it. The layer catches and logs a panic of a listener.
pub trait Listener: Send + Sync + 'static {
    /// Receives one event.
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

/// The listeners of a layer. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Listeners(Vec<Arc<dyn Listener>>);

impl Listeners {
    pub(crate) fn add(&mut self, listener: Arc<dyn Listener>) {
        self.0.push(listener);
    }

    /// Passes an event to `tracing` and to every listener. No panic of a listener reaches the caller.
    pub(crate) fn emit(&self, layer: &Name, kind: EventKind) {
        let event = Event { layer: layer.clone(), kind };
        // A listener may take its time, or poll a future.
        let _outside = Scope::new(false);
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
