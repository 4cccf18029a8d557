//! The wait of a service in `poll_ready` until its circuit may let a call pass.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    runtime::{Handle, Id},
    sync::futures::OwnedNotified,
    time::Sleep,
};

use super::circuit::Circuit;
use crate::rt::clock;

/// Wakes when the circuit changes, or when time alone might change it. It does not poll in between.
#[derive(Debug)]
pub(crate) struct Waiting {
    changed: Pin<Box<OwnedNotified>>,
    /// With the runtime that drives it: a timer of a runtime that was shut down panics when it is polled.
    timeout: Option<(Id, Pin<Box<Sleep>>)>,
}

impl Waiting {
    /// Listens from now on.
    pub(crate) fn new(circuit: &Circuit) -> Self {
        let mut changed = Box::pin(Arc::clone(&circuit.changed).notified_owned());
        changed.as_mut().enable();
        Self { changed, timeout: None }
    }

    /// Ready when it is worth asking the circuit again; `None` outside a runtime, where nothing would wake the caller.
    pub(crate) fn poll_change(&mut self, circuit: &Circuit, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let Ok(runtime) = Handle::try_current() else { return Poll::Ready(None) };
        if self.timeout.as_ref().is_none_or(|(driver, _)| *driver != runtime.id()) {
            let next = circuit.ask(|state, now| (state.ask_again_at(now), None));
            self.timeout = next.map(|at| (runtime.id(), Box::pin(clock::alarm(at))));
        }
        let timed_out =
            self.timeout.as_mut().is_some_and(|(_, timeout)| timeout.as_mut().poll(cx).is_ready());
        let changed = timed_out || self.changed.as_mut().poll(cx).is_ready();
        if changed { Poll::Ready(Some(())) } else { Poll::Pending }
    }
}
