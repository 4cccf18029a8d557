//! The stages: the layer that each config becomes, and its handle.

mod circuit_breaker;
mod common;
mod concurrency_limit;
mod contract;
mod drain;
mod fallback;
mod hedge;
mod rate_limit;
mod retry;
mod timeout;

pub use common::Common;
pub use contract::{HasHandle, OptionalStage, Stage, Unused};
pub use rate_limit::RateLimitStage;
