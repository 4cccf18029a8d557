//! The shared parts of the benches: the service that is called, the drivers, and the measured crates.
//!
//! `cargo bench -p tower-reliability-benches` runs criterion over everything; `cargo run --profile bench -p
//! tower-reliability-benches --bin ratios` measures all contenders in one interleaved run and prints the tables of
//! `RESULTS.md`.
#![allow(
    clippy::disallowed_methods,
    reason = "a bench measures real time, and has no paused clock to follow"
)]

pub mod allocations;
pub mod breakers;
pub mod drive;
pub mod fallbacks;
pub mod hedges;
pub mod inner;
pub mod other_crates;
pub mod pending;

pub mod retries;
pub mod rounds;
pub mod stacks;
pub mod threads;
pub mod timeouts;
