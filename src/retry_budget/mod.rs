//! A limit on retries and hedges that several layers share.
//!
//! A budget grants one more attempt while both rules hold:
//!
//! - **Ratio**: over the last minute, retries are at most 20 % of the requests, plus a [reserve](RetryBudgetConfig::reserve)
//!   of 10 retries.
//! - **Health**: of the attempts of the last 2 s, a ratio `f` failed. Below `f` = 25 % every retry passes. From 50 % on,
//!   one retry in a hundred passes. In between, a ratio of `(0.5 − f) ÷ (0.5 − 0.25)` passes. Five consecutive
//!   failures over at least 100 ms count as an outage at once, until the next success. Five successes are assumed
//!   beforehand, so that a single failure of a quiet client stops no retry.
//!
//! The ratio alone keeps a storm of retries small. But a backend that comes back still works off a queue, and 20 % more
//! load may keep it down. The health rule stops retries while they cannot help. The budget has no floor such as "ten
//! retries a second are always allowed": a floor is multiplied by the number of clients.
//!
//! ```
//! use tower_reliability::{retry::RetryConfig, retry_budget::RetryBudgetConfig};
//!
//! let budget = RetryBudgetConfig::new().ratio(0.1).build()?;
//! let (reads, writes) = (
//!     RetryConfig::new().build()?.budget(budget.clone()),
//!     RetryConfig::new().max_attempts(2).build()?.budget(budget.clone()),
//! );
//! println!("{:?}", budget.snapshot());
//! # let _ = (reads, writes);
//! # Ok::<(), tower_reliability::ConfigError>(())
//! ```
//!
//! # Accounting
//!
//! The innermost layer that holds a budget records the outcome of every attempt. Outer layers only withdraw: give a retry
//! around a hedge the [`withdraw_only`](RetryBudget::withdraw_only) side of the hedge's budget. A stack does so itself.
//!
//! Each attempt beyond the first of a request is withdrawn before it is sent. So the number of requests is the number of
//! recorded attempts minus the number of withdrawals spent. An attempt that this side rejects in front of one endpoint
//! ([`Outcome::EndpointUnavailable`](crate::Outcome::EndpointUnavailable)) is not recorded, and its replacement is free.
//!
//! # Defaults
//!
//! | setting | default | range |
//! |---|---|---|
//! | [`ratio`](RetryBudgetConfig::ratio) | 0.2 retries per request | 0 to 10 |
//! | [`window`](RetryBudgetConfig::window) | 60 s | 10 ms to 1 day |
//! | [`reserve`](RetryBudgetConfig::reserve) | 10 retries | any |
//! | [`health_gate`](RetryBudgetConfig::health_gate) | 0.25 and 0.5 of the attempts | 0 to 1 |
//! | [`health_window`](RetryBudgetConfig::health_window) | 2 s | 10 ms to 1 day |
//!
//! A budget needs no runtime and does not panic.

mod account;
#[cfg(all(test, shuttle))]
mod concurrency;
mod config;
mod handle;
mod per_key;
#[cfg(feature = "serde")]
mod serde;
mod snapshot;
mod state;
#[cfg(feature = "tower")]
mod tower;

pub(crate) use account::{Account, Withdrawal};
pub use config::RetryBudgetConfig;
pub use handle::RetryBudget;
pub(crate) use per_key::BudgetsPerKey;
pub use snapshot::RetryBudgetSnapshot;
pub use state::RejectedBy;
