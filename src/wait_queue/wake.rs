//! Waking a call that no longer waits.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::Waker,
};

/// Wakes the task of another call. The caller holds no lock.
///
/// A waker is foreign code. Without the catch, a waker that panics would end the call that hands its permit over: the
/// permit would be lost, and in a drop during a panic the process would abort.
pub(crate) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        // The panic hook has reported it.
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}
