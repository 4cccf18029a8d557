//! The machine of a wait queue: pure code that gets each event and the time.

mod arrival;
mod lists;
#[cfg(test)]
mod model;
mod pressure;
mod queue;
#[cfg(test)]
mod tests;

pub(crate) use arrival::{Answer, Ended, Newcomer, Refusal, Ticket, Verdict};
pub(crate) use queue::WaitQueue;
