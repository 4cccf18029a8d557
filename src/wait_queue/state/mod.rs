//! The machine of a wait queue: pure code that gets each event and the time.

mod lists;
#[cfg(test)]
mod model;
mod pressure;
mod queue;
#[cfg(test)]
mod tests;

pub(crate) use queue::{Answer, Ended, Newcomer, Refusal, Ticket, Verdict, WaitQueue};
