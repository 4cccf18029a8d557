//! The vocabulary of one call: outcomes, classifiers, rejections, errors, deadlines, and further attempts.

mod chain;
mod check;
#[cfg(feature = "serde")]
pub(crate) mod choice;
mod classes;
mod classify;
mod config_error;
mod deadline;
#[cfg(feature = "serde")]
pub(crate) mod duration;
mod error;
mod history;
mod infallible;
mod origin;
mod outcome;
mod pending_outcome;
mod priority;
mod priority_source;
mod protocol;
mod quota;
mod rejected;
mod resend;
mod route_source;
mod upload;

pub(crate) use chain::{chain, short_report};
pub use check::check_service;
pub(crate) use classes::ErrorClasses;
pub use classes::PerClass;
#[cfg(feature = "grpc")]
pub(crate) use classify::find_named;
pub use classify::{
    BoxErrorClassifier, Classifier, StandardClassifier, UntilResponse, classify_fn, outcome_of,
};
#[cfg(feature = "http")]
pub(crate) use classify::{first_named, standard};
pub use config_error::ConfigError;
pub use deadline::{Deadline, DeadlineSource, NoDeadline};
pub use error::{AsRejected, BoxError, Error, FromRejected, IntoRejected};
pub use history::CallHistory;
pub(crate) use origin::Origin;
pub use outcome::{ErrorClass, Outcome, Retryable};
pub use pending_outcome::PendingOutcome;
pub use priority::Priority;
pub use priority_source::{NoPriority, PrioritySource};
pub use protocol::Protocol;
pub use quota::QuotaState;
pub use rejected::{Reason, Rejected};
pub use resend::{CloneRequest, PriorAttempts, Resend};
pub use route_source::{NoRoute, RouteSource};
pub use upload::Upload;
