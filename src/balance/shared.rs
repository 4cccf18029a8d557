//! The endpoints behind their lock, and the set that calls read.

use std::{
    fmt::Display,
    hash::Hash,
    mem,
    sync::{Arc, PoisonError, TryLockError},
    time::Instant,
};

use arc_swap::ArcSwap;

use super::{
    config::BalanceConfig,
    core::Core,
    load::EndpointLoad,
    set::{Endpoint, Set},
    state::{Change, State},
    strategy::{Chosen, Clock, Strategy},
};
use crate::{
    call::Rejected,
    rt::{
        clock,
        sync::{Mutex, MutexGuard, Ordering, lock},
    },
    telemetry::{EjectionCause, EventKind, Name},
};

/// A key of an endpoint, such as its address. Every type with these traits is one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key of an endpoint: it needs `Clone + Eq + Hash + Display`",
    label = "needs `Clone + Eq + Hash + Display`",
    note = "`SocketAddr`, `String` and `http::Uri` are keys"
)]
pub trait EndpointKey: Clone + Eq + Hash + Display {}

impl<K: Clone + Eq + Hash + Display> EndpointKey for K {}

pub(super) struct BalanceShared<K, S> {
    pub(super) core: Arc<Core>,
    /// Stored under the lock of the members.
    pub(super) set: ArcSwap<Set<K, S>>,
    members: Mutex<Members<K, S>>,
}

struct Members<K, S> {
    state: State<K, Arc<Endpoint<K, S>>>,
    strategy: Arc<dyn Strategy>,
    /// The strategy of the user, which a new config does not replace.
    is_own: bool,
}

impl<K: EndpointKey, S> BalanceShared<K, S> {
    pub(super) fn new(core: Core, config: BalanceConfig, own: Option<Arc<dyn Strategy>>) -> Self {
        let (is_own, strategy) =
            (own.is_some(), own.unwrap_or_else(|| Arc::new(Chosen::new(config, core.random.draw()))));
        let state = State::new(config, core.epoch);
        let set = Set::new(config, &state.eligible(), &*strategy);
        let members = Mutex::new(Members { state, strategy, is_own });
        Self { core: Arc::new(core), set: ArcSwap::from_pointee(set), members }
    }

    /// Changes the endpoints, and publishes the new set.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut State<K, Arc<Endpoint<K, S>>>, Instant) -> T,
    ) -> T {
        let now = clock::now();
        let mut members = lock(&self.members);
        let changed = change(&mut members.state, now);
        let panic = self.publish(&members);
        drop(members);
        self.tell(panic, Vec::new());
        changed
    }

    /// Counts the result of an active check of this endpoint.
    pub(super) fn checked(&self, load: &Arc<EndpointLoad>, passed: bool, needed: impl FnOnce(bool) -> u32) {
        let is_it = |endpoint: &Arc<Endpoint<K, S>>| Arc::ptr_eq(&endpoint.load, load);
        let mut members = lock(&self.members);
        let Some(change) = members.state.checked(is_it, passed, needed) else { return };
        if passed {
            load.renew(self.core.millis(clock::now()));
        }
        let panic = self.publish(&members);
        drop(members);
        self.tell(panic, vec![change]);
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&State<K, Arc<Endpoint<K, S>>>) -> T) -> T {
        read(&lock(&self.members).state)
    }

    /// The config has been checked.
    pub(super) fn update(&self, config: BalanceConfig) {
        let now = clock::now();
        let mut members = lock(&self.members);
        members.state.update(config, now);
        if !members.is_own {
            members.strategy = Arc::new(Chosen::new(config, self.core.random.draw()));
        }
        self.core.set_config(config, is_timed(&config, &*members.strategy));
        let panic = self.publish(&members);
        drop(members);
        self.tell(panic, Vec::new());
        self.core.emitter.emit(EventKind::Reconfigured);
    }

    /// Does the work of the machine that is due.
    #[inline]
    pub(super) fn advance(&self, clock: &Clock) {
        if self.core.is_due(|| clock.millis()) {
            self.advance_now();
        }
    }

    #[cold]
    fn advance_now(&self) {
        // Another call does the work already.
        let Some(mut members) = self.try_lock() else { return };
        self.core.begin_due();
        let now = clock::now();
        let mut changes = Vec::new();
        for load in mem::take(&mut *lock(&self.core.suspects)) {
            let is_it = |endpoint: &Arc<Endpoint<K, S>>| Arc::as_ptr(&endpoint.load) == load.as_ptr();
            changes.extend(members.state.eject(is_it, EjectionCause::ConsecutiveFailures, now));
        }
        changes.extend(members.state.advance(|endpoint| endpoint.load.counts(), now));
        for change in &changes {
            match change {
                Change::Ejected { .. } => drop(self.core.ejections.fetch_add(1, Ordering::Relaxed)),
                Change::Returned { key } => {
                    let returned = members.state.members().iter().find(|member| member.key == *key);
                    returned.inspect(|member| member.it.load.renew(self.core.millis(now)));
                }
                Change::Checked { .. } => unreachable!("no call checks an endpoint"),
            }
        }
        let panic = if changes.is_empty() {
            self.core.set_due(members.state.next_timeout());
            None
        } else {
            self.publish(&members)
        };
        drop(members);
        self.tell(panic, changes);
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Members<K, S>>> {
        match self.members.try_lock() {
            Ok(members) => Some(members),
            Err(TryLockError::Poisoned(members)) => Some(PoisonError::into_inner(members)),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Makes the set of the members. Returns the panic that begins or ends with it.
    fn publish(&self, members: &Members<K, S>) -> Option<EventKind> {
        let eligible = members.state.eligible();
        let set = Set::new(*members.state.config(), &eligible, &*members.strategy);
        let is_panic = set.is_panic;
        let former = self.set.swap(Arc::new(set));
        self.core.set_due(members.state.next_timeout());
        (former.is_panic != is_panic).then_some(EventKind::BalancePanicChanged { is_panic })
    }

    /// Emits the events, and wakes the calls that wait for an endpoint. No lock is held.
    fn tell(&self, panic: Option<EventKind>, changes: Vec<Change<K>>) {
        self.core.changed.notify_waiters();
        let emitter = &self.core.emitter;
        for change in changes {
            let (key, kind) = match change {
                Change::Ejected { key, cause, time } => (key, EventKind::EndpointEjected { cause, time }),
                Change::Returned { key } => (key, EventKind::EndpointReturned),
                Change::Checked { key, is_down } => (key, EventKind::EndpointChecked { is_down }),
            };
            emitter.of_key(Name::from(format!("{}:{key}", emitter.name().as_str()))).emit(kind);
        }
        if let Some(panic) = panic {
            emitter.emit(panic);
        }
    }
}

impl<K, S> BalanceShared<K, S> {
    #[cold]
    pub(super) fn reject(&self, set: &Set<K, S>) -> Rejected {
        self.core.rejected.fetch_add(1, Ordering::Relaxed);
        Rejected::new(self.core.emitter.name().clone(), set.no_endpoint)
    }
}

/// Whether calls must read the clock.
pub(super) fn is_timed(config: &BalanceConfig, strategy: &dyn Strategy) -> bool {
    strategy.needs_latency() || config.outliers.compares()
}
