//! The shared state of a drain: the gate, and the machine behind its lock.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Instant,
};

use tokio::sync::Notify;

use super::{
    config::DrainConfig,
    gate::Gate,
    snapshot::{DrainPhase, DrainReport, DrainSnapshot},
    state::State,
};
use crate::{
    call::{ConfigError, Reason, Rejected},
    rt::{
        clock,
        sync::{AtomicU64, Mutex, Ordering, lock},
    },
    telemetry::{Emitter, EventKind, Listener, Name},
};

/// Begins a drain, waits for its end, and tells whether one has begun.
///
/// # Clone
///
/// Clones, and all services and handles of one layer, share the drain.
#[derive(Clone, Debug)]
pub struct DrainHandle {
    pub(super) shared: Arc<DrainShared>,
}

#[derive(Debug)]
pub(super) struct DrainShared {
    gate: Gate,
    emitter: Emitter,
    state: Mutex<State>,
    /// Notified when the gate closes, and when the last call leaves a closed gate.
    pub(super) changed: Arc<Notify>,
    /// Relaxed everywhere: a number of its own.
    rejected: AtomicU64,
}

/// One call in flight. Dropping it ends the call.
#[derive(Debug)]
#[must_use]
pub(super) struct Guard(Arc<DrainShared>);

impl DrainHandle {
    pub(super) fn new(config: DrainConfig, emitter: Emitter) -> Self {
        let shared = DrainShared {
            gate: Gate::default(),
            emitter,
            state: Mutex::new(State::new(config)),
            changed: Arc::default(),
            rejected: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The layer's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.shared.emitter.name()
    }

    /// Begins the drain, and waits until no call is in flight, or until the limit.
    ///
    /// The drain begins with the first poll, unless it has begun before. It has no way back. Any number of tasks may
    /// wait. All waits end at one limit, with one report, and so does a later wait.
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends the wait and not the drain. After a drop during the [`delay`](DrainConfig::delay), the
    /// first call after the delay closes the gate.
    ///
    /// # Panics
    ///
    /// If it has to wait inside a tokio runtime without `enable_time`. Outside of a runtime it does not wait: the gate
    /// closes, and the report tells how many calls are left.
    pub async fn drain(&self) -> DrainReport {
        self.begin();
        let (closes_at, ends_at) = lock(&self.shared.state).schedule().expect("the drain has just begun");
        if !self.shared.gate.word().is_closed() {
            let mut timer = pin!(None);
            // Outside of a runtime the delay has no end, so the gate closes at once.
            let _ = poll_fn(|cx| clock::poll_alarm(timer.as_mut(), closes_at, cx)).await;
            self.shared.close();
        }
        let left = self.shared.empty_by(ends_at).await;
        let (report, is_new) = lock(&self.shared.state).report(left, clock::now());
        if is_new {
            let DrainReport { finished, left, .. } = report;
            self.shared.emitter.emit(EventKind::DrainEnded { finished, left });
        }
        report
    }

    /// Begins the drain, and does not wait. A drain that has begun goes on.
    ///
    /// After the [`delay`](DrainConfig::delay), the next call closes the gate, unless a [`drain`](Self::drain) has.
    pub fn begin(&self) {
        let shared = &self.shared;
        let (in_flight, closes_now) = {
            let mut state = lock(&shared.state);
            if state.has_begun() {
                return;
            }
            // Under the lock: a call that finds the flag waits for the schedule.
            let in_flight = shared.gate.announce().in_flight();
            state.begin(in_flight, clock::now());
            (in_flight, state.config().delay.is_zero())
        };
        if closes_now {
            shared.close();
        }
        shared.emitter.emit(EventKind::DrainBegan { in_flight });
    }

    /// Whether a drain has begun. For a readiness endpoint.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.gate.word().is_draining()
    }

    /// The phase and the counts.
    #[must_use]
    pub fn snapshot(&self) -> DrainSnapshot {
        let word = self.shared.gate.word();
        let phase = match (word.is_draining(), word.is_closed()) {
            (false, _) => DrainPhase::Serving,
            (true, false) => DrainPhase::Announced,
            (true, true) => DrainPhase::Closed,
        };
        let rejected = self.shared.rejected.load(Ordering::Relaxed);
        DrainSnapshot { phase, in_flight: word.in_flight(), rejected }
    }

    /// The numbers of the next drain.
    #[must_use]
    pub fn config(&self) -> DrainConfig {
        lock(&self.shared.state).config()
    }

    /// Replaces the numbers. A drain that has begun keeps its own.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule. The old numbers stay in force then.
    pub fn update(&self, config: DrainConfig) -> Result<(), ConfigError> {
        config.check()?;
        lock(&self.shared.state).update(config);
        self.shared.emitter.emit(EventKind::Reconfigured);
        Ok(())
    }

    /// Adds a listener, which hears every [event](super#telemetry) from now on.
    pub fn listen(&self, listener: impl Listener) {
        self.shared.emitter.add(listener);
    }

    /// The same numbers, name and listeners, with these listeners added, and a drain of its own.
    pub(super) fn joined(&self, name: Name, listeners: &[Arc<dyn Listener>]) -> Self {
        Self::new(self.config(), self.shared.emitter.joined(name, listeners))
    }
}

impl DrainShared {
    /// Whether every call is rejected from now on.
    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.gate.word().is_closed()
    }

    /// Counts a call, or rejects it.
    #[inline]
    pub(super) fn enter(self: &Arc<Self>) -> Result<Guard, Rejected> {
        // A closed gate counts no call, not even for a moment: in a storm of calls, the drain would never see zero.
        if self.is_closed() {
            return Err(self.reject());
        }
        let word = self.gate.enter();
        let guard = Guard(Arc::clone(self));
        if word.is_draining() { self.enter_late(guard, word.is_closed()) } else { Ok(guard) }
    }

    /// Admits a call during the delay. The call is counted, so that no drain ends without it.
    // Cold: once in the life of a process.
    #[cold]
    fn enter_late(&self, guard: Guard, is_closed: bool) -> Result<Guard, Rejected> {
        if !is_closed && lock(&self.state).admit(clock::now()) {
            return Ok(guard);
        }
        self.close();
        drop(guard);
        Err(self.reject())
    }

    /// Closes the gate, and wakes the services that wait in `poll_ready`.
    pub(super) fn close(&self) {
        if !self.gate.close().is_closed() {
            self.changed.notify_waiters();
        }
    }

    /// Waits until no call is in flight behind the closed gate, and returns the number of those left at the limit.
    async fn empty_by(&self, ends_at: Instant) -> u64 {
        let mut timer = pin!(None);
        let mut empty = pin!(self.empty());
        // Outside of a runtime the wait has no end, so there is none.
        let _ = poll_fn(|cx| match empty.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => clock::poll_alarm(timer.as_mut(), ends_at, cx),
        })
        .await;
        self.gate.word().in_flight()
    }

    /// Waits until no call is in flight.
    pub(super) async fn empty(&self) {
        loop {
            // Made before the look: it hears of each change from then on.
            let changed = self.changed.notified();
            if self.gate.word().in_flight() == 0 {
                return;
            }
            changed.await;
        }
    }

    // Cold: a server rejects calls in its last seconds only.
    #[cold]
    fn reject(&self) -> Rejected {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        Rejected::new(self.emitter.name().clone(), Reason::Draining)
    }
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        let word = self.0.gate.leave();
        if word.is_closed() && word.in_flight() == 0 {
            self.0.changed.notify_waiters();
        }
    }
}
