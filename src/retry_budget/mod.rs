//! How many retries and hedges a peer can bear.
//!
//! A budget is shared by everything that sends more than one request for one call to the same peer. It gives credit as
//! long as two things hold:
//!
//! - retries of the last minute are at most a [share](RetryBudgetConfig::share) of the requests, 20 % by default;
//! - the peer is well. Of the attempts of the last 2 s, `f` failed: below 25 % the gate is wide open, from 50 % on it is
//!   shut but for one retry in a hundred, in between it lets a share of `(0.5 − f) ÷ (0.5 − 0.25)` through.
//!
//! The share alone keeps a storm of retries small; but a peer that has just come back is still full of what was asked
//! before, and 20 % more load may be what keeps it down. The gate takes the retries away while they cannot help. There
//! is no number of retries per second that is always allowed: it would be multiplied by the number of clients.
//!
//! ```
//! use tower_reliability::{retry::RetryConfig, retry_budget::RetryBudgetConfig};
//!
//! let budget = RetryBudgetConfig::new().share(0.1).build()?;
//! let (reads, writes) = (
//!     RetryConfig::new().build()?.budget(budget.clone()),
//!     RetryConfig::new().max_attempts(2).build()?.budget(budget.clone()),
//! );
//! println!("{:?}", budget.snapshot());
//! # let _ = (reads, writes);
//! # Ok::<(), tower_reliability::ConfigError>(())
//! ```

mod account;
#[cfg(all(test, shuttle))]
mod concurrency;
mod config;
mod handle;
mod snapshot;
mod state;
#[cfg(feature = "tower")]
mod tower;

pub(crate) use account::{Account, Credit};
pub use config::RetryBudgetConfig;
pub use handle::RetryBudget;
pub use snapshot::RetryBudgetSnapshot;
pub use state::NoCredit;
