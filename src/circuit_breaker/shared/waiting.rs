//! The wait of a service in `poll_ready` until its circuit may let a call pass.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    runtime::{Handle, Id},
    sync::futures::OwnedNotified,
    time::Sleep,
};

use super::{CallGuard, circuit::Circuit};
use crate::{circuit_breaker::state::Refusal, rt::clock};

/// The place of a service that is ready only with a place.
#[derive(Debug, Default)]
pub(crate) struct Reservation {
    place: Option<CallGuard>,
    waiting: Option<Waiting>,
}

impl Reservation {
    /// Waits for a place and keeps it. An error is the refusal of a caller that no runtime would wake.
    pub(crate) fn poll_reserve(
        &mut self,
        circuit: &Arc<Circuit>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Refusal>> {
        // A place may be gone: the circuit has opened since, or no call came for too long.
        if self.place.as_ref().is_some_and(|place| !place.is_held()) {
            self.place = None;
        }
        while self.place.is_none() {
            // Listening begins before the question, so that no change falls in between.
            let waiting = self.waiting.get_or_insert_with(|| Waiting::new(circuit));
            match CallGuard::reserve(circuit) {
                Ok(place) => self.place = Some(place),
                Err(refusal) => match ready!(waiting.poll_change(circuit, cx)) {
                    Some(()) => {}
                    None => return Poll::Ready(Err(refusal)),
                },
            }
            self.waiting = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the place. Dropped, it returns to the circuit.
    pub(crate) fn take(&mut self) -> Option<CallGuard> {
        self.place.take()
    }
}

/// Wakes when the circuit changes, or when time alone might change it. It does not poll in between.
#[derive(Debug)]
struct Waiting {
    changed: Pin<Box<OwnedNotified>>,
    /// With the runtime that drives it: a timer of a runtime that was shut down panics when it is polled.
    timeout: Option<(Id, Pin<Box<Sleep>>)>,
}

impl Waiting {
    /// Listens from now on.
    fn new(circuit: &Circuit) -> Self {
        let mut changed = Box::pin(Arc::clone(&circuit.changed).notified_owned());
        changed.as_mut().enable();
        Self { changed, timeout: None }
    }

    /// Ready when it is worth asking the circuit again; `None` outside a runtime, where nothing would wake the caller.
    fn poll_change(&mut self, circuit: &Circuit, cx: &mut Context<'_>) -> Poll<Option<()>> {
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
