//! The queue in front of a limit: calls wait for a permit by priority, within their deadline, in bounded memory.
//!
//! - **Order**: [critical before high before normal before low](crate::Priority), and within a class the oldest first. A
//!   new call never overtakes a waiting call of its class.
//! - **No starvation**: each class below critical has a [minimum share](WaitQueueConfig::minimum_share) of the served calls,
//!   and a reserved part of the queue.
//! - **Deadlines**: the queue refuses a call at once if the call would be served after its deadline or after
//!   [`max_wait`](WaitQueueConfig::max_wait), by the recent pace of the limit. An expired call is never served.
//! - **Bounds**: a full queue evicts the newest call of the lowest class, or refuses the new call.
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
//! # Under twice the load
//!
//! The simulation `tests/it/concurrency_limit_overload.rs` sends calls at random at twice the rate that fits, a quarter of
//! them of each class. So critical and high calls together just fit. With the defaults, and four seeds:
//!
//! | class | successes | 99th percentile of the wait |
//! |---|--:|--:|
//! | critical | 100 % | 9 ms |
//! | high | 99.5 % to 100 % | 223 to 506 ms |
//! | normal | 0.5 % to 1.3 % | 106 to 168 ms |
//! | low | 0.3 % to 0.4 % | 41 to 156 ms |
//!
//! A class that just fits has a queue that wanders, and every bound on its wait costs successes. So high and critical calls
//! may wait for half of [`max_wait`](WaitQueueConfig::max_wait), and other calls for the target. The trade, by the first
//! seed:
//!
//! | setting | high calls that succeed | 99th percentile of their wait |
//! |---|--:|--:|
//! | `max_wait` 200 ms | 96.0 % | 125 ms |
//! | `max_wait` 400 ms | 97.0 % | 212 ms |
//! | default: 1 s | 99.5 % | 506 ms |
//! | [`without_shedding`](WaitQueueConfig::without_shedding) | 100 % | 549 ms |
//!
//! The interval of 100 ms is that of `CoDel`.

mod config;
mod state;
mod wake;

pub use config::WaitQueueConfig;
pub(crate) use state::{Arrival, Dequeued, Enqueued, Refusal, Ticket, Verdict, WaitQueue};
pub(crate) use wake::wake;
