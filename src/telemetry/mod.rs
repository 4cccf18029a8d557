//! Names of layers, events as data, and listeners.

mod circuit;
mod emitter;
mod endpoint;
mod event;
mod health;
mod kind;
mod name;

pub use circuit::{CircuitState, CircuitTransition, Trip};
pub(crate) use emitter::{Emitter, TARGET};
pub use endpoint::EjectionCause;
pub use event::{Event, Listener, Severity};
pub use health::{CheckFailure, HealthStatus, HealthTransition};
pub use kind::EventKind;
pub use name::Name;
