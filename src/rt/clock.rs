//! The one door through which time comes in.
//!
//! It is tokio's clock, so that `tokio::time::pause` and `advance` in a user's tests move every layer.
//! Pure code never comes here: it is told `now`.
#![allow(clippy::disallowed_methods, reason = "this is the door that the ban points to")]

use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

/// The current instant, which follows paused time.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Completes at `at`. Must be polled inside a tokio runtime with time enabled.
pub(crate) fn alarm(at: Instant) -> Sleep {
    sleep_until(at.into())
}

/// The wall clock, for headers that carry a date. It does not follow paused time.
#[cfg(feature = "http")]
pub(crate) fn wall() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// A fixed instant from which tests of pure code count.
#[cfg(test)]
pub(crate) fn epoch() -> Instant {
    static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}
