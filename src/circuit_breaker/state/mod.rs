//! The pure machine of one circuit. It is told every event and the time, and decides.

mod answers;
mod ending;
mod health;
mod machine;
mod open_backoff;
mod permit;
mod phase;
mod probes;

pub(super) use ending::{Ending, Timing};
pub(super) use health::Lockless;
pub(super) use machine::State;
pub(super) use permit::{Collected, FastMode, Override, Permit, Refusal};

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
