//! The rest of a quota.

use std::time::Duration;

/// The rest of a quota, for one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaState {
    /// The requests that the client may send now.
    pub remaining: u64,
    /// The time until the client may send more, if it is known.
    pub reset: Option<Duration>,
}
