//! The shared state of one circuit: the machine behind its lock, and the fast path in front of it.

mod call_guard;
mod circuit;
mod fast_path;
mod waiting;

pub(super) use call_guard::CallGuard;
pub(super) use circuit::Circuit;
pub(super) use waiting::Reservation;

#[cfg(all(test, shuttle))]
mod concurrency;
