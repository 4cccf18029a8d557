//! A service that waits in `poll_ready` for its circuit to let it pass.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{sync::futures::OwnedNotified, time::Sleep};

use super::handle::CircuitBreakerHandle;
use crate::rt::clock;

/// Wakes when the circuit changes, or when time alone might change it. It does not poll in between.
#[derive(Debug)]
pub(super) struct Waiting {
    changed: Pin<Box<OwnedNotified>>,
    timeout: Option<Pin<Box<Sleep>>>,
}

impl Waiting {
    /// Listens from now on.
    pub(super) fn new(handle: &CircuitBreakerHandle) -> Self {
        let mut changed = Box::pin(handle.changed().notified_owned());
        changed.as_mut().enable();
        Self { changed, timeout: None }
    }

    /// Ready when it is worth asking the circuit again.
    pub(super) fn poll_change(&mut self, handle: &CircuitBreakerHandle, cx: &mut Context<'_>) -> Poll<()> {
        if self.timeout.is_none() {
            self.timeout = handle.next_timeout().map(|at| Box::pin(clock::alarm(at)));
        }
        let timed_out = self.timeout.as_mut().is_some_and(|timeout| timeout.as_mut().poll(cx).is_ready());
        if timed_out || self.changed.as_mut().poll(cx).is_ready() { Poll::Ready(()) } else { Poll::Pending }
    }
}
