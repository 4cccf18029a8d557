//! The shared state of a limit: the permits, and the queue behind its lock.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::{
    adaptive::Ended,
    config::ConcurrencyLimitConfig,
    permit::Permit,
    permits::{Grant, Permits},
    snapshot::ConcurrencyLimitSnapshot,
    state::{Rejection, State},
};
use crate::{
    algo::after,
    call::{ConfigError, Priority, Reason, Rejected},
    rt::{
        clock, descent,
        sync::{Mutex, lock},
    },
    telemetry::{Emitter, EventKind, Listener, Name},
    wait_queue::{Arrival, Dequeued, Enqueued, Ticket, Verdict, wake},
};

/// Reads a concurrency limit and changes its numbers.
///
/// # Clone
///
/// Clones, and all services and handles of one layer, share the limit.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimitHandle {
    pub(super) shared: Arc<ConcurrencyLimitShared>,
}

#[derive(Debug)]
pub(super) struct ConcurrencyLimitShared {
    pub(super) permits: Permits,
    pub(super) emitter: Emitter,
    /// Changes of the permits that concern calls that wait are made under this lock. No waker is woken, cloned or dropped
    /// under it: the task behind it may own a call of this limit.
    state: Mutex<State<Option<Waker>>>,
}

/// The place of a call that waits. Dropping it leaves the queue.
#[derive(Debug)]
#[must_use]
pub(super) struct Waiter {
    shared: Arc<ConcurrencyLimitShared>,
    /// `None` once the call has its verdict.
    ticket: Option<Ticket>,
}

/// The result of a call that found no free permit at first.
#[derive(Debug)]
pub(super) enum Acquired {
    Permit(Permit),
    Waiting(Waiter),
}

impl ConcurrencyLimitHandle {
    pub(super) fn new(config: ConcurrencyLimitConfig, emitter: Emitter) -> Self {
        let state = State::new(config, rand::random());
        let permits = Permits::new(state.terms());
        Self { shared: Arc::new(ConcurrencyLimitShared { permits, emitter, state: Mutex::new(state) }) }
    }

    /// The layer's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.shared.emitter.name()
    }

    /// The state and the counts.
    #[must_use]
    pub fn snapshot(&self) -> ConcurrencyLimitSnapshot {
        let state = lock(&self.shared.state);
        ConcurrencyLimitSnapshot {
            limit: state.limit(),
            baseline: state.baseline(),
            in_flight: self.shared.permits.in_flight(),
            waiting: state.waiting(),
            waiting_by_class: Priority::ALL.map(|priority| (priority, state.waiting_of(priority))),
            shedding: state.shedding(),
            counts: state.counts(),
        }
    }

    /// The numbers in force.
    #[must_use]
    pub fn config(&self) -> ConcurrencyLimitConfig {
        lock(&self.shared.state).config()
    }

    /// Replaces all numbers at once.
    ///
    /// A higher limit serves waiting calls at once. Under a lower limit, the calls in flight go on, and no further call
    /// passes until they are few enough. Waiting calls keep their places and their time. A limit that is adaptive before
    /// and after keeps what it has learnt, within its new bounds.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule. The old numbers stay in force then.
    pub fn update(&self, config: ConcurrencyLimitConfig) -> Result<(), ConfigError> {
        config.check()?;
        self.apply(config);
        self.shared.emitter.emit(EventKind::Reconfigured);
        Ok(())
    }

    /// Replaces the numbers by checked ones.
    pub(super) fn apply(&self, config: ConcurrencyLimitConfig) {
        let shared = &self.shared;
        {
            let mut state = lock(&shared.state);
            state.update(config, rand::random());
            shared.permits.set(state.terms());
        }
        shared.serve_waiting();
    }

    /// Adds a listener, which hears every [event](super#telemetry) from now on.
    pub fn listen(&self, listener: impl Listener) {
        self.shared.emitter.add(listener);
    }

    /// The same numbers, name and listeners, with these listeners added, and a limit of its own.
    pub(super) fn joined(&self, name: Name, listeners: &[Arc<dyn Listener>]) -> Self {
        Self::new(self.config(), self.shared.emitter.joined(name, listeners))
    }
}

impl ConcurrencyLimitShared {
    /// Takes a permit if one is free and no call waits.
    #[inline]
    pub(super) fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        self.permits.try_acquire().map(|admitted| Permit::new(self, admitted))
    }

    /// Takes a permit or waits for one.
    // Cold: most calls find a free permit.
    #[cold]
    pub(super) fn acquire(self: &Arc<Self>, arrival: Arrival) -> Result<Acquired, Rejected> {
        let now = descent::now();
        let mut state = lock(&self.state);
        if state.expire(now) {
            self.permits.set(state.terms());
            drop(state);
            self.serve_waiting();
            state = lock(&self.state);
        }
        match self.permits.acquire_or_wait() {
            Grant::Wait => {}
            Grant::Permit(admitted) => return Ok(Acquired::Permit(Permit::new(self, admitted))),
            Grant::ShadowPermit(admitted) => {
                state.pass();
                return Ok(Acquired::Permit(Permit::new(self, admitted)));
            }
        }
        let enqueued = state.enqueue(arrival, None, now);
        let change = self.settle(&mut state);
        drop(state);
        self.report(change);
        match enqueued {
            Ok(Enqueued { ticket, evicted }) => {
                wake(evicted.flatten());
                Ok(Acquired::Waiting(Waiter { shared: Arc::clone(self), ticket: Some(ticket) }))
            }
            Err(rejection) => Err(self.reject(rejection, now)),
        }
    }

    /// A measured call has ended: the limit may change.
    #[cold]
    pub(super) fn record(&self, call: Ended, now: Instant) {
        let event = {
            let mut state = lock(&self.state);
            let event = state.learn(call, now);
            self.permits.set(state.terms());
            event
        };
        self.serve_waiting();
        self.report(event);
    }

    /// Returns a permit.
    #[inline]
    pub(super) fn release(&self) {
        if !self.permits.try_release() {
            self.hand_over();
        }
    }

    /// Hands the permits of a limit that has grown to calls that wait.
    fn serve_waiting(&self) {
        while self.permits.acquire_for_waiting() {
            self.hand_over();
        }
    }

    /// Before the lock is free: notes whether calls wait. Returns the event for after it.
    fn settle(&self, state: &mut State<Option<Waker>>) -> Option<EventKind> {
        if state.waiting() == 0 {
            self.permits.stop_waiting();
        }
        state.shedding_change()
    }

    /// Hands a permit to the next call that waits, or returns it.
    // Cold: while no call waits, a permit is returned without the lock.
    #[cold]
    fn hand_over(&self) {
        let now = clock::now();
        loop {
            let mut state = lock(&self.state);
            let dequeued = state.dequeue(now);
            if dequeued.is_none() {
                self.permits.stop_waiting_and_release();
            }
            let change = self.settle(&mut state);
            drop(state);
            self.report(change);
            let Some(Dequeued { payload, verdict }) = dequeued else { return };
            wake(payload);
            if verdict == Verdict::Served {
                return;
            }
        }
    }

    fn report(&self, change: Option<EventKind>) {
        if let Some(event) = change {
            self.emitter.emit(event);
        }
    }

    fn reject(&self, rejection: Rejection, now: Instant) -> Rejected {
        let Rejection { reason, priority, since, retry_after } = rejection;
        let waited = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.emitter.emit(EventKind::Rejected { reason, priority, waited });
        Rejected::new(self.emitter.name().clone(), reason).at(Some(after(now, retry_after)))
    }
}

impl Waiter {
    /// When the call gives up.
    pub(super) fn expires(&self) -> Instant {
        lock(&self.shared.state).expires(self.ticket.as_ref().expect(WAITING))
    }

    /// The rejection of a call whose wait no timer would end. The drop of this counts the call as cancelled.
    pub(super) fn without_runtime(&self) -> Rejected {
        let (priority, since) = lock(&self.shared.state).arrival(self.ticket.as_ref().expect(WAITING));
        let (reason, waited) = (Reason::NoRuntime, clock::now().saturating_duration_since(since));
        self.shared.emitter.emit(EventKind::Rejected { reason, priority, waited });
        Rejected::new(self.shared.emitter.name().clone(), reason)
    }

    /// Waits for the verdict.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Permit, Rejected>> {
        let mut waker = Some(cx.waker().clone());
        let ticket = self.ticket.as_ref().expect(WAITING);
        // In its own statement, so that the former waker is dropped without the lock.
        let waits = lock(&self.shared.state).register(ticket, &mut waker);
        if waits { Poll::Pending } else { Poll::Ready(self.end()) }
    }

    /// Ends the wait: with the verdict, or because the time is over.
    pub(super) fn end(&mut self) -> Result<Permit, Rejected> {
        let ticket = self.ticket.take().expect(WAITING);
        let mut state = lock(&self.shared.state);
        // The waker is dropped without the lock.
        let (result, _waker) = state.end(ticket);
        let change = self.shared.settle(&mut state);
        drop(state);
        self.shared.report(change);
        match result {
            Ok(()) => Ok(Permit::new(&self.shared, self.shared.permits.take_over())),
            Err(rejection) => Err(self.shared.reject(rejection, clock::now())),
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let mut state = lock(&self.shared.state);
        let (result, _waker) = state.cancel(ticket);
        let change = self.shared.settle(&mut state);
        drop(state);
        self.shared.report(change);
        match result {
            None => {}
            Some(Ok(())) => self.shared.release(),
            // For the event: the call is counted as rejected.
            Some(Err(rejection)) => drop(self.shared.reject(rejection, clock::now())),
        }
    }
}

const WAITING: &str = "a call is polled until it has its verdict";
