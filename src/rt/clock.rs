//! The one door through which time comes in.
//!
//! It is tokio's clock, so that `tokio::time::pause` and `advance` in a user's tests move every layer.
//! Pure code never comes here: it is told `now`.
#![allow(clippy::disallowed_methods, reason = "this is the door that the ban points to")]

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use tokio::time::{Sleep, sleep_until};

/// The current instant, which follows paused time.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Completes at `at`. Must be polled inside a tokio runtime with time enabled.
pub(crate) fn alarm(at: Instant) -> Sleep {
    sleep_until(at.into())
}

/// Polls an [`alarm`], and reads the clock too: a task that has used up tokio's cooperative budget finds every timer
/// pending.
///
/// An alarm whose runtime was shut down is set again in the runtime that polls. Without this the poll panics.
pub(crate) fn poll_alarm(mut alarm: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
    let at = alarm.deadline();
    if tokio::time::Instant::now() >= at {
        return Poll::Ready(());
    }
    if alarm.is_elapsed() {
        alarm.set(sleep_until(at));
    }
    alarm.poll(cx)
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
