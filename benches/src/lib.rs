//! The shared parts of the benches: the backend that is called, the drivers, the rows, and the measured crates.
//!
//! `cargo bench -p tower-reliability-benches` runs criterion over the rows that are ready at once; `cargo run --profile
//! bench -p tower-reliability-benches --bin ratios` measures all rows in interleaved runs and writes the tables of
//! `RESULTS.md`.
#![allow(
    clippy::disallowed_methods,
    reason = "a bench measures real time, and has no paused clock to follow"
)]

pub mod allocations;
pub mod axum_router;
pub mod backend;
pub mod balancers;
pub mod bars;
pub mod breakers;
pub mod drive;
pub mod fallbacks;
pub mod hedges;
pub mod http_layers;
pub mod keyed;
pub mod limits;
pub mod measure;
pub mod other_crates;
pub mod rate_limits;
pub mod report;
pub mod retries;
pub mod row;
pub mod setup;
pub mod stacks;
pub mod tables;
pub mod threads;
pub mod timeouts;

use tokio::runtime::{Builder, Runtime};

/// The runtime inside which all rows are made and driven: some take its clock, or set its timers.
#[must_use]
pub fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("a runtime starts")
}
