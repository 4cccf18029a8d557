//! Names of layers, events as data, and listeners.

mod circuit;
mod event;
mod name;

pub use circuit::{CircuitState, CircuitTransition, Trip};
pub(crate) use event::Listeners;
pub use event::{Event, EventKind, Listener, Severity};
pub use name::Name;
