//! The shared state of a hedge layer: its numbers, the learnt delays, and its account with the budget.

use std::{sync::Arc, time::Duration};

use super::{
    config::{After, HedgeConfig},
    learning::{Learning, is_sample},
    snapshot::{ClassDelay, HedgeCounts, HedgeSnapshot},
    state::{Call, Next, Stop, Trigger},
};
use crate::{
    call::{ConfigError, Outcome},
    keyed::{ConfiguredState, KeyedState},
    retry_budget::{Account, RetryBudget, Withdrawal},
    rt::{
        clock,
        sync::{AtomicBool, AtomicU64, Mutex, Ordering, lock},
    },
    telemetry::{Emitter, EventKind, Listener, Name, TARGET},
};

/// Reads the counts and the delays of a hedge layer, and changes its numbers.
///
/// # Clone
///
/// Clones, and all services and handles of one layer, share the numbers, the learnt delays and the budget.
#[derive(Clone, Debug)]
pub struct HedgeHandle {
    shared: Arc<HedgeShared>,
}

#[derive(Debug)]
struct HedgeShared {
    emitter: Emitter,
    account: Account,
    /// Whether calls measure how long they take.
    learns: AtomicBool,
    not_resendable: AtomicU64,
    classes: Box<[Class]>,
    memory: Mutex<Memory>,
}

/// The part of a class that a waiting call reads and writes. A call that does not wait does not come here. A call that
/// waits arms a timer, which costs more than a shared cache line.
#[derive(Debug, Default)]
struct Class {
    /// In nanoseconds.
    delay: AtomicU64,
    waited: AtomicU64,
}

#[derive(Debug)]
struct Memory {
    config: HedgeConfig,
    counts: HedgeCounts,
    learning: Learning,
}

/// The end of a call, other than by the success of its first attempt.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    WonByHedge,
    Failed,
    Abandoned,
}

/// The grant of one hedge. Dropped unspent, its withdrawal is refunded.
#[derive(Debug)]
pub(super) struct Grant {
    /// Whether the call may send no further hedge.
    pub(super) last: bool,
    withdrawal: Option<Withdrawal>,
    /// Emitted when the hedge is sent.
    event: EventKind,
    /// Taken when the hedge is sent.
    handle: Option<HedgeHandle>,
}

impl HedgeHandle {
    pub(super) fn new(config: HedgeConfig, emitter: Emitter, budget: &RetryBudget) -> Self {
        let counts = HedgeCounts::default();
        let shared = HedgeShared {
            emitter,
            account: budget.account(),
            learns: AtomicBool::new(false),
            not_resendable: AtomicU64::new(0),
            classes: (0..MAX_CLASSES).map(|_| Class::default()).collect(),
            memory: Mutex::new(Memory { config, counts, learning: Learning::default() }),
        };
        shared.publish(&lock(&shared.memory));
        Self { shared: Arc::new(shared) }
    }

    /// The layer's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.shared.emitter.name()
    }

    /// The budget.
    #[must_use]
    pub fn budget(&self) -> RetryBudget {
        self.shared.account.budget()
    }

    /// The numbers in force.
    #[must_use]
    pub fn config(&self) -> HedgeConfig {
        lock(&self.shared.memory).config
    }

    /// The counts, the delays and the budget.
    #[must_use]
    pub fn snapshot(&self) -> HedgeSnapshot {
        let budget = self.shared.account.budget().snapshot();
        let Memory { config, mut counts, ref learning } = *lock(&self.shared.memory);
        counts.won_by_primary = self.shared.account.successes();
        counts.not_resendable += self.shared.not_resendable.load(Ordering::Relaxed);
        let classes = (0..MAX_CLASSES).filter(|class| *class == 0 || learning.samples(*class) > 0);
        let classes = classes.map(|class| ClassDelay {
            class: class.into(),
            delay: learning.delay(class, &config),
            samples: learning.samples(class),
        });
        HedgeSnapshot { counts, classes: classes.collect(), budget }
    }

    /// Replaces the numbers, for running calls too. The learnt delays stay.
    ///
    /// A stack does not check them again against the numbers of its other stages.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range; the old numbers then stay in force.
    pub fn update(&self, config: HedgeConfig) -> Result<(), ConfigError> {
        config.check()?;
        self.replace(config);
        self.shared.emitter.emit(EventKind::Reconfigured);
        Ok(())
    }

    /// Adds a listener, which hears every [event](super#telemetry) from now on.
    pub fn listen(&self, listener: impl Listener) {
        self.shared.emitter.add(listener);
    }

    /// After what time a call of this class is hedged; `None` if a slow call alone is no reason.
    pub(super) fn delay(&self, class: u8) -> Option<Duration> {
        let nanos = self.shared.classes[usize::from(class)].delay.load(Ordering::Relaxed);
        (nanos != NEVER).then(|| Duration::from_nanos(nanos))
    }

    /// The first attempt is found waiting, for the first time.
    pub(super) fn waits(&self, call: &mut Call, has_copy: bool) {
        if !has_copy {
            if self.delay(call.class).is_some() {
                self.shared.not_resendable.fetch_add(1, Ordering::Relaxed);
                call.stop();
            }
        } else if self.shared.learns.load(Ordering::Relaxed) {
            let number = self.shared.classes[usize::from(call.class)].waited.fetch_add(1, Ordering::Relaxed);
            call.started = is_sample(number).then(clock::now);
        }
    }

    /// The first attempt has succeeded.
    #[inline]
    pub(super) fn won_by_primary(&self, call: &Call) {
        self.shared.account.succeeded();
        if call.started.is_some() {
            self.learn(call, true);
        }
    }

    /// An attempt has failed.
    // Cold: nearly every attempt succeeds.
    #[cold]
    pub(super) fn failed(&self, call: &mut Call, primary: bool, outcome: Outcome) -> Next {
        let unhealthy = outcome.blames_backend();
        // A hedge was withdrawn, so the budget has to hear of its end, also where that says nothing about the backend.
        if unhealthy.is_some() || !primary {
            self.shared.account.record(unhealthy);
        }
        if primary {
            // The learnt delay is how long successes take.
            call.started = None;
        }
        call.judge(outcome, &lock(&self.shared.memory).config)
    }

    /// Asks for one more hedge.
    // Cold: few calls are hedged.
    #[cold]
    pub(super) fn grant(&self, call: &mut Call, may_resend: bool, trigger: Trigger) -> Option<Grant> {
        let granted = call.grant(may_resend, &self.config()).and_then(|last| {
            let withdraw = || self.shared.account.withdraw().map_err(Stop::Budget);
            let withdrawal = if trigger.is_free() { None } else { Some(withdraw()?) };
            let delay = if trigger == Trigger::Slow { self.delay(call.class) } else { None };
            let event = EventKind::Hedged { attempt: call.attempt(), class: trigger.class(), delay };
            Ok(Grant { last, withdrawal, event, handle: Some(self.clone()) })
        });
        granted
            .inspect_err(|stop| {
                call.stop();
                lock(&self.shared.memory).counts.stop(*stop);
                tracing::debug!(target: TARGET, layer = %self.name(), ?stop, "no hedge");
            })
            .ok()
    }

    /// A call has ended, other than by the success of its first attempt.
    // Cold: nearly every first attempt succeeds.
    #[cold]
    pub(super) fn ended(&self, call: &Call, end: End) {
        self.learn(call, false);
        if let End::WonByHedge = end {
            self.shared.account.record(Some(false));
        }
        let counts = &mut lock(&self.shared.memory).counts;
        *match end {
            End::WonByHedge => &mut counts.won_by_hedge,
            End::Failed => &mut counts.failed,
            End::Abandoned => &mut counts.abandoned,
        } += 1;
    }

    /// Attempts were dropped before they ended: they count as sent, and have no vote.
    // Cold: few calls are hedged, and few are abandoned.
    #[cold]
    pub(super) fn dropped(&self, attempts: usize) {
        (0..attempts).for_each(|_| self.shared.account.record(None));
    }

    /// The first attempt took so long, or at least so long if it was dropped.
    // Cold: one call in eight comes here.
    #[cold]
    fn learn(&self, call: &Call, finished: bool) {
        let class = &self.shared.classes[usize::from(call.class)].delay;
        if call.started.is_some()
            && let Some(latency) = call.latency(finished, self.delay(call.class), clock::now())
        {
            let Memory { config, learning, .. } = &mut *lock(&self.shared.memory);
            class.store(nanos(learning.record(call.class, latency, config)), Ordering::Relaxed);
        }
    }
}

impl KeyedState for HedgeHandle {
    fn is_in_use(&self) -> bool {
        // The registry holds one reference; each call in flight and each handle of a user holds another.
        Arc::strong_count(&self.shared) > 1
    }

    fn is_evictable(&self, idle: Duration) -> bool {
        self.shared.account.budget().is_forgettable(idle)
    }
}

impl ConfiguredState for HedgeHandle {
    type Config = HedgeConfig;

    fn replace(&self, config: HedgeConfig) {
        let mut memory = lock(&self.shared.memory);
        memory.config = config;
        self.shared.publish(&memory);
    }
}

impl Grant {
    /// The hedge is sent.
    pub(super) fn spend(mut self) {
        if let Some(withdrawal) = self.withdrawal.take() {
            withdrawal.spend();
        }
        if let Some(handle) = self.handle.take() {
            lock(&handle.shared.memory).counts.hedges += 1;
            handle.shared.emitter.emit(self.event);
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            lock(&handle.shared.memory).counts.unsent += 1;
        }
    }
}

impl HedgeShared {
    /// Stores the delays where calls read them without the lock. Relaxed: a call may see the old delay a little longer.
    fn publish(&self, memory: &Memory) {
        for (class, number) in self.classes.iter().zip(0..) {
            class.delay.store(nanos(memory.learning.delay(number, &memory.config)), Ordering::Relaxed);
        }
        self.learns.store(matches!(memory.config.after, After::Quantile(_)), Ordering::Relaxed);
    }
}

fn nanos(delay: Option<Duration>) -> u64 {
    delay.map_or(NEVER, |delay| u64::try_from(delay.as_nanos()).unwrap_or(NEVER))
}

/// Enough for the routes of most backends. A class costs 16 bytes. Once a call of it has waited, the class and all lower
/// numbers cost another 1 KiB each.
pub(super) const MAX_CLASSES: u8 = 64;
/// No hedge because of time; as a delay it would be 584 years.
const NEVER: u64 = u64::MAX;
