//! The shared state of a limit: the bucket, and the queue and the window behind their lock.

use std::{
    mem,
    num::NonZeroU32,
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use super::{
    adaptive::{Change, Ended},
    bucket::Bucket,
    config::RateLimitConfig,
    limits::Taken,
    lockless::Lockless,
    quota::Quotas,
    rate::Epoch,
    snapshot::RateLimitSnapshot,
    state::{Entry, Newcomer, Refused, State, Step},
    waiter::Waiter,
};
use crate::{
    call::{ConfigError, Priority, Rejected},
    rt::{
        clock, descent,
        sync::{Mutex, MutexGuard, lock},
    },
    telemetry::{Emitter, EventKind, Listener, Name},
    wait_queue::{Arrival, wake},
};

/// Reads a rate limit and changes its numbers.
///
/// # Clone
///
/// Clones, and all services and handles of one layer, share the limit.
#[derive(Clone, Debug)]
pub struct RateLimitHandle {
    pub(super) shared: Arc<RateLimitShared>,
}

#[derive(Debug)]
pub(super) struct RateLimitShared {
    pub(super) emitter: Emitter,
    epoch: Epoch,
    pub(super) bucket: Bucket,
    /// Whether the limit learns its rate from the calls that pass.
    pub(super) adapts: bool,
    lockless: Lockless,
    /// No waker is woken, cloned or dropped under this lock: the task behind it may own a call of this limit.
    pub(super) state: Mutex<State<Option<Waker>>>,
}

/// The tokens of a call that has not reached the inner service. Dropping it returns them.
#[derive(Debug)]
#[must_use]
pub(super) struct Tokens {
    shared: Arc<RateLimitShared>,
    cost: u32,
    taken: Taken,
}

/// A call that did not pass at once.
#[derive(Debug)]
pub(super) enum Entered {
    Passed(Tokens),
    Waits(Waiter),
}

impl RateLimitHandle {
    /// For a checked config.
    pub(super) fn new(config: RateLimitConfig, emitter: Emitter) -> Self {
        let epoch = Epoch(clock::now());
        let state = State::new(config, epoch);
        let shared = RateLimitShared {
            emitter,
            epoch,
            bucket: Bucket::default(),
            adapts: config.is_adaptive(),
            lockless: Lockless::none(),
            state: Mutex::new(state),
        };
        shared.lockless.set(lock(&shared.state).lockless_rate());
        Self { shared: Arc::new(shared) }
    }

    /// The layer's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.shared.emitter.name()
    }

    /// The state and the counts.
    #[must_use]
    pub fn snapshot(&self) -> RateLimitSnapshot {
        let now = clock::now();
        let mut state = lock(&self.shared.state);
        let (tokens, left_in_window) = state.left(&self.shared.bucket, now);
        RateLimitSnapshot {
            tokens,
            left_in_window,
            waiting: state.waiting(),
            waiting_by_class: Priority::ALL.map(|priority| (priority, state.waiting_of(priority))),
            shedding: state.shedding(),
            adaptive: state.adaptive(now),
            counts: state.counts(),
        }
    }

    /// The quotas, and how much of them is left for the next call. It takes a short lock.
    #[must_use]
    pub fn quotas(&self) -> Quotas {
        let now = clock::now();
        lock(&self.shared.state).quotas(&self.shared.bucket, now)
    }

    /// The numbers in force.
    #[must_use]
    pub fn config(&self) -> RateLimitConfig {
        lock(&self.shared.state).config()
    }

    /// Replaces all numbers at once.
    ///
    /// The tokens that were taken stay taken, up to the new burst, and return at the new rate. The calls in the window
    /// stay in it; a longer window does not know the calls that have left the shorter one. Waiting calls keep their
    /// places and their time. A call that is checked at the moment of the change may still pass by the old rate. A call that
    /// got its tokens before the change returns none if it is dropped after it. A rate that an [adaptive](super::adaptive)
    /// limit has learnt stays, within the new bounds, and so does a pause.
    ///
    /// # Errors
    ///
    /// Names the first field that breaks its rule, or `adaptive` if the config adds it or leaves it out: the services of
    /// the layer watch their calls, or do not. The old numbers stay in force then.
    pub fn update(&self, config: RateLimitConfig) -> Result<(), ConfigError> {
        config.check()?;
        let is_alike = config.is_adaptive() == self.shared.adapts;
        ConfigError::check(is_alike, "adaptive", "can be neither added nor left out by an update")?;
        let shared = &self.shared;
        let now = clock::now();
        let mut state = lock(&shared.state);
        // Calls wait for the lock until the bucket counts by the new rate. By the old rate, its debt would look too low.
        shared.lockless.set(None);
        state.update(config, &shared.bucket, now);
        let change = shared.settle(&mut state);
        drop(state);
        shared.report(change);
        // The head has a timer for the old rate.
        shared.serve(now);
        shared.wake_head();
        shared.emitter.emit(EventKind::Reconfigured);
        Ok(())
    }

    /// Adds a listener, which hears every [event](super#telemetry) from now on.
    pub fn listen(&self, listener: impl Listener) {
        self.shared.emitter.add(listener);
    }

    pub(super) fn emitter(&self) -> &Emitter {
        &self.shared.emitter
    }

    /// The same numbers, name and listeners, with these listeners added, and a limit of its own.
    pub(super) fn joined(&self, name: Name, listeners: &[Arc<dyn Listener>]) -> Self {
        Self::new(self.config(), self.shared.emitter.joined(name, listeners))
    }
}

impl RateLimitShared {
    /// Takes the tokens of a call, if no call waits and the bucket alone decides.
    #[inline]
    pub(super) fn try_take(&self, cost: u32) -> bool {
        let Some(cost) = NonZeroU32::new(cost) else { return true };
        let take = |rate| self.bucket.take(rate, cost, self.epoch.nanos(descent::now()));
        self.lockless.rate().is_some_and(|rate| take(rate).is_ok())
    }

    /// Whether a call that is made now would get a token.
    pub(super) fn has_tokens(&self) -> bool {
        let now = descent::now();
        let mut state = lock(&self.state);
        let (tokens, left) = state.left(&self.bucket, now);
        state.config().shadow || state.waiting() == 0 && tokens != Some(0) && left != Some(0)
    }

    /// Decides on a call that did not pass at once.
    // Cold: most calls find their tokens.
    #[cold]
    pub(super) fn enter(self: &Arc<Self>, arrival: Arrival) -> Result<Entered, Rejected> {
        let newcomer = Newcomer { arrival, at: descent::now() };
        match self.decide(&newcomer, newcomer.at) {
            Ok(Some(tokens)) => Ok(Entered::Passed(tokens)),
            Ok(None) => Ok(Entered::Waits(Waiter::new(Arc::clone(self), newcomer))),
            Err(refused) => Err(self.reject(refused)),
        }
    }

    /// `None`: the call may wait.
    pub(super) fn decide(
        self: &Arc<Self>,
        newcomer: &Newcomer,
        now: Instant,
    ) -> Result<Option<Tokens>, Refused> {
        let mut state = self.lock(now);
        if state.waiting() > 0 {
            // The task with the timer may be busy. Tokens of waiting calls are not for this call.
            drop(state);
            self.serve(now);
            state = self.lock(now);
        }
        let entry = state.enter(&self.bucket, newcomer, now);
        // The call may have found that a pause is over.
        self.lockless.set(state.lockless_rate());
        match entry {
            Entry::Passes => Ok(Some(self.tokens(newcomer.arrival.cost))),
            Entry::Beyond => Ok(Some(self.tokens(0))),
            Entry::MayWait => Ok(None),
            Entry::Refused(refused) => Err(refused),
        }
    }

    /// Learns from the end of a call that has passed.
    pub(super) fn learn(&self, ended: &Ended) {
        let now = descent::now();
        let mut state = self.lock(now);
        // Calls wait for the lock while the rate changes, as in `update`.
        let stop = || self.lockless.set(None);
        let (has_moved, change) = state.learn(&self.bucket, ended, now, stop);
        if has_moved {
            self.lockless.set(state.lockless_rate());
        }
        drop(state);
        if has_moved {
            // The head has a timer for the old rate.
            self.serve(now);
            self.wake_head();
        }
        if let Some(Change { from, to }) = change {
            // The rates lie between the floor and the ceiling, which are above 0.
            let [from, to] = [from, to].map(|rate| Duration::from_secs_f64(1.0 / rate));
            self.emitter.emit(EventKind::RateChanged { from, to });
        }
    }

    /// Ends the wait of every call whose time has come, and wakes the next one.
    pub(super) fn serve(&self, now: Instant) {
        let mut ends = false;
        while let Step::Dequeued(dequeued) = self.step(now) {
            wake(dequeued.payload);
            ends = true;
        }
        if ends {
            self.wake_head();
        }
    }

    fn step(&self, now: Instant) -> Step<Option<Waker>> {
        let mut state = self.lock(now);
        let step = state.step(&self.bucket, now);
        let change = self.settle(&mut state);
        drop(state);
        self.report(change);
        step
    }

    /// Locks the state, and repairs what a call left behind that took its tokens while the rate changed.
    ///
    /// The rate changes only under the lock. By a rate that was read before, the debt of the new one could look too high.
    pub(super) fn lock(&self, now: Instant) -> MutexGuard<'_, State<Option<Waker>>> {
        let state = lock(&self.state);
        state.clamp_debt(&self.bucket, now, clock::now);
        state
    }

    /// Wakes the call that is served next, so that it sets its timer.
    pub(super) fn wake_head(&self) {
        let waker = lock(&self.state).head().and_then(mem::take);
        wake(waker);
    }

    /// Before the lock is free: lets calls know whether the bucket alone decides, and by which rate. Returns the event
    /// for after it.
    #[must_use]
    pub(super) fn settle(&self, state: &mut State<Option<Waker>>) -> Option<EventKind> {
        self.lockless.set(state.lockless_rate());
        state.shedding_change()
    }

    pub(super) fn report(&self, change: Option<EventKind>) {
        if let Some(event) = change {
            self.emitter.emit(event);
        }
    }

    /// The tokens of a call that has just passed.
    pub(super) fn tokens(self: &Arc<Self>, cost: u32) -> Tokens {
        let taken = Taken { at: descent::now(), full_at: self.bucket.full_at() };
        Tokens { shared: Arc::clone(self), cost, taken }
    }

    /// The tokens of a call that was served at this instant, and whose task is late. The bucket may have been full since.
    pub(super) fn tokens_since(self: &Arc<Self>, cost: u32, at: Instant) -> Tokens {
        Tokens { shared: Arc::clone(self), cost, taken: Taken { at, full_at: None } }
    }

    pub(super) fn reject(&self, refused: Refused) -> Rejected {
        let Refused { reason, priority, since, retry_at } = refused;
        let waited = since.map_or(Duration::ZERO, |since| clock::now().saturating_duration_since(since));
        self.emitter.emit(EventKind::Rejected { reason, priority, waited });
        Rejected::new(self.emitter.name().clone(), reason).at(retry_at)
    }
}

impl Tokens {
    /// The call reaches the inner service.
    pub(super) fn spend(mut self) {
        self.cost = 0;
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        if self.cost > 0 {
            let now = clock::now();
            lock(&self.shared.state).refund(&self.shared.bucket, self.cost, self.taken, now);
            self.shared.serve(now);
            // The next call gets its tokens earlier than its timer says.
            self.shared.wake_head();
        }
    }
}
