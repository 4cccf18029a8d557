//! x
#![cfg_attr(docsrs, feature(doc_cfg))]

mod algo;
mod circuit;
mod classify;
mod clock;
mod deadline;
mod error;
mod event;
mod name;
mod outcome;
mod priority;
mod rejected;
mod sync;

pub mod circuit_breaker;
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub mod http;
pub mod stack;
pub mod timeout;

pub use circuit::{CircuitState, CircuitTransition, Trip};
pub use classify::{BoxErrorClassifier, Classifier, StandardClassifier, outcome_of};
pub use deadline::{Deadline, Limits, Unlimited};
pub use error::{BoxError, ConfigError, Error, FromRejected, IntoRejected};
pub use event::{Event, EventKind, Listener, Severity};
pub use name::Name;
pub use outcome::{ErrorClass, Outcome};
pub use priority::Priority;
pub use rejected::{Reason, Rejected};
