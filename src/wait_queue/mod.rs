//! The queue in front of a limit: calls wait for a permit by priority, within their deadline, in bounded memory.
//!
//! - **Order**: [critical before high before normal before low](crate::Priority), and within a class the oldest first. A
//!   newcomer never overtakes a waiting call of its class.
//! - **No starvation**: each class below critical has a [minimum share](WaitQueueConfig::minimum_share) of the served calls,
//!   and a reserved part of the queue.
//! - **Deadlines**: the queue refuses a call at once if the call would be served after its deadline or after
//!   [`max_wait`](WaitQueueConfig::max_wait), by the recent pace of the limit. An expired call is never served.
//! - **Bounds**: a full queue displaces the newest call of the lowest class, or refuses the newcomer.
//!   [`per_key`](WaitQueueConfig::per_key) bounds the calls of one client.
//! - **Overload**: while calls wait too long for too long, the queue [sheds](WaitQueueConfig::shed_above) the lowest class
//!   first.
//!
//! Joining, leaving and serving cost O(1), and a waiting call allocates nothing once the queue has grown to its usual
//! length.
//!
//! # Defaults
//!
//! | setting | default | range |
//! |---|---|---|
//! | [`capacity`](WaitQueueConfig::capacity) | 1 000 calls | 0 to 1 000 000 |
//! | [`per_key`](WaitQueueConfig::per_key) | no limit | at least 1 |
//! | [`max_wait`](WaitQueueConfig::max_wait) | 1 s | above 0, at most 1 day |
//! | [`minimum_share`](WaitQueueConfig::minimum_share) | 0.001 for each class below critical | 0 to 0.5, together at most 0.5 |
//! | [`shed_above`](WaitQueueConfig::shed_above) | 100 ms for 100 ms | above 0, at most 1 day |
//!
//! The interval of 100 ms is that of `CoDel`. The target trades successes for short waits. In the simulation
//! `tests/it/concurrency_limit_overload.rs`, calls arrive at random at twice the rate that fits, so that critical and
//! high calls together just fit. All critical calls succeed, and of the high calls:
//!
//! | target | successes | 99th percentile of the wait |
//! |--:|--:|--:|
//! | 20 ms | 88.9 % | 67 ms |
//! | 100 ms | 96.1 % | 125 ms |
//! | off | 100 % | 549 ms |

mod config;
mod state;

pub use config::WaitQueueConfig;
pub(crate) use state::{Answer, Ended, Newcomer, Refusal, Ticket, Verdict, WaitQueue};
