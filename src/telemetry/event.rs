//! Events inside a layer, as data, and their listeners.

use std::fmt;

use super::{EventKind, Name};

/// An event inside a layer: a retry, a hedge, a timeout, a fallback, a rejection by a limit, a circuit that opens.
///
/// A healthy call emits no event; the `snapshot()` of a layer's handle counts it. The page of each layer has a table of
/// its events, under *Telemetry*. Each event also goes to `tracing`, with the target `tower_reliability`. `Display`
/// prints the event as one line, with the name escaped.
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

/// The severity of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// A layer did its work for one call. A bad minute has many such events.
    Debug,
    /// Normal operation.
    Info,
    /// An operator should look at it.
    Warning,
    /// The layer rejects calls, or the service has a defect.
    Error,
}

impl Event {
    /// The severity, given by the kind.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.kind.severity()
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.layer, self.kind)
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
/// A stack, its layers and their handles have a method `listen`. The layer calls the listener on
/// the thread of the event, after every lock is free. So a listener may call the layer's handle. The listener should be
/// quick, because the call waits for it. The layer catches and logs a panic of a listener.
///
/// A listener does not hear every rejection: those of a breaker, a rate limit per key and a drain have no event, and
/// snapshots count them. To count all rejections by reason, look at the errors of the calls; see
/// [`Rejected::reason`](crate::Rejected::reason).
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
