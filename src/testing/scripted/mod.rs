//! A backend that does as a script says.

pub mod future;
mod script;
mod service;
mod step;

pub use service::Scripted;
pub use step::Step;
