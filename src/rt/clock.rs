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

use tokio::{
    runtime::Handle,
    task::{self, coop::has_budget_remaining},
    time::{Sleep, sleep_until},
};

/// No tokio runtime runs the current code, so no timer would wake its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRuntime;

/// The current instant, which follows paused time.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Whether a tokio runtime runs the current code.
///
/// Two cases are unknown, and tokio's timer panics in both: a runtime without `enable_time`, and a task of a `LocalSet`
/// that another executor runs.
pub(crate) fn has_runtime() -> bool {
    // The first question costs less: the second one copies the handle of the runtime.
    task::try_id().is_some() || Handle::try_current().is_ok()
}

/// Completes at `at`. Must be made inside a tokio runtime with time enabled.
pub(crate) fn alarm(at: Instant) -> Sleep {
    sleep_until(at.into())
}

/// Ready at `at`, by a timer in `alarm` or by the clock.
pub(crate) fn poll_alarm(
    alarm: Pin<&mut Option<Sleep>>,
    at: Instant,
    cx: &mut Context<'_>,
) -> Poll<Result<(), NoRuntime>> {
    if now() >= at { Poll::Ready(Ok(())) } else { poll_timer(alarm, at, cx) }
}

/// Ready when a timer in `alarm` has fired at `at`. Reads the clock only where a timer does not suffice.
pub(crate) fn poll_timer(
    mut alarm: Pin<&mut Option<Sleep>>,
    at: Instant,
    cx: &mut Context<'_>,
) -> Poll<Result<(), NoRuntime>> {
    match alarm.as_mut().as_pin_mut() {
        Some(timer) if !timer.is_elapsed() => {
            if timer.deadline() != at.into() {
                timer.reset(at.into());
            }
        }
        Some(_) if now() >= at => return Poll::Ready(Ok(())),
        // A timer that has ended early was set for an earlier instant, or its runtime was shut down. A poll of the latter
        // panics.
        _ if has_runtime() => alarm.set(Some(self::alarm(at))),
        _ => return Poll::Ready(Err(NoRuntime)),
    }
    let timer = alarm.as_pin_mut().expect("it was set, or has just been");
    // A task that has used up tokio's cooperative budget finds every timer pending.
    if timer.poll(cx).is_ready() || !has_budget_remaining() && now() >= at {
        Poll::Ready(Ok(()))
    } else {
        Poll::Pending
    }
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
