//! The machine of a wait queue: pure code that gets each event and the time.

mod arrival;
mod codel;
mod head;
mod lists;
#[cfg(test)]
mod model;
mod queue;
#[cfg(test)]
mod tests;

pub(crate) use arrival::{Arrival, Dequeued, Enqueued, Refusal, Ticket, Verdict};
pub(crate) use queue::WaitQueue;
