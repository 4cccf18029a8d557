//! A limit that learns how many calls the backend serves at once.
//!
//! The learner is told the times of calls, and sets the limit once per window. Below the limit that the backend needs, a
//! call takes the same time at any number of calls in flight. Above it, calls queue inside the backend, and the time
//! grows with the limit. So the ratio of two times says how many calls queue: the time without a queue, which is the
//! *baseline*, and the median of the window.
//!
//! - A window with a short queue raises the limit, and a window with a long queue lowers it (the rule of TCP Vegas).
//! - A limit that calls do not reach does not change: such a window shows nothing about a higher limit.
//! - The baseline is measured again by a **probe**: for some tens of calls, the limit is halved. A limit that lasts above
//!   the capacity otherwise raises the baseline too, step by step, until the limit protects nothing.

mod config;
mod learner;
#[cfg(test)]
mod model;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod vote;
mod window;

pub use config::AdaptiveLimitConfig;
pub(super) use learner::Learner;
pub(super) use vote::{Ended, Vote};
