//! A layer that injects faults into a service.

mod config;
mod failure;
pub mod future;
mod handle;
mod latency;
mod layer;
mod service;

pub use config::FaultConfig;
pub use failure::NoFailure;
pub use handle::{FaultHandle, FaultSnapshot};
pub use latency::Latency;
pub use layer::FaultLayer;
pub use service::Faults;
