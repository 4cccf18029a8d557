//! Says when the rest of an open circuit is nearly over, so that nobody who is turned away need look at the clock.
//!
//! A reading of the clock is most of what a rejection costs. Tokio's timer reads it anyway: a timer that is set when
//! the circuit opens clears a flag shortly before the rest is over, and only from then on is each call measured
//! against the clock. There is no task; the timer's waker does it. It may ring early, or when its runtime goes away:
//! then calls look at the clock a little longer. Should the runtime be too busy to turn its timers, or stand still, every
//! 64th rejection of a thread looks all the same.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Wake, Waker},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, time::Sleep};

use super::gate::PublishedGate;
use crate::rt::clock;

/// A timer that is set. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Alarm {
    _timer: Pin<Box<Sleep>>,
}

impl Alarm {
    /// Lets the gate rest until shortly before `until`; outside a runtime, or if that is now, it does not rest.
    pub(super) fn set(gate: &'static PublishedGate, until: Instant) -> Option<Self> {
        let early = until.checked_sub(EARLY).filter(|early| *early > clock::now())?;
        Handle::try_current().ok()?;
        let waker = Waker::from(Arc::new(Bell(gate)));
        gate.rest();
        // There is no asking whether a runtime has timers; one that has none panics.
        let set = catch_unwind(AssertUnwindSafe(|| {
            let mut timer = Box::pin(clock::alarm(early));
            let rang = timer.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
            (!rang).then_some(timer)
        }));
        let timer = set.ok().flatten();
        if timer.is_none() {
            gate.rest_ends();
        }
        timer.map(|timer| Self { _timer: timer })
    }
}

struct Bell(&'static PublishedGate);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.rest_ends();
    }
}

/// Tokio's timer counts in whole milliseconds and rounds up.
const EARLY: Duration = Duration::from_millis(2);
