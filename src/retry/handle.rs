//! The shared state of a retry layer: its numbers, its memory, and its account with the budget.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{
    config::{RetryConfig, RetryPolicy},
    snapshot::RetrySnapshot,
    state::{Call, Failed, Stop},
    stats::{AttemptRecord, Stats},
};
use crate::{
    call::{ConfigError, ErrorClass, Outcome},
    keyed::{ConfiguredState, KeyedState},
    retry_budget::{Account, RetryBudget, Withdrawal},
    rt::{
        clock,
        sync::{AtomicU64, Mutex, Ordering, lock},
    },
    telemetry::{Emitter, EventKind, Listener, Name, TARGET},
};

/// Reads the counts and the history of a retry layer, and changes its numbers.
///
/// # Clone
///
/// Clones, and all services and handles of one layer, share the numbers, the memory and the budget.
#[derive(Clone, Debug)]
pub struct RetryHandle {
    shared: Arc<RetryShared>,
}

#[derive(Debug)]
struct RetryShared {
    emitter: Emitter,
    account: Account,
    /// The limit of the whole call, where an outer layer has one.
    total: Option<Duration>,
    circuit: CircuitCheck,
    /// The config's, for calls to read without the lock.
    max_attempts: AtomicU64,
    memory: Mutex<Memory>,
}

#[derive(Debug)]
struct Memory {
    config: RetryConfig,
    stats: Stats,
    random: SmallRng,
}

/// Whether an inner circuit is open, where the layer was told how to find out.
#[derive(Clone, Default)]
pub(super) struct CircuitCheck(pub(super) Option<Arc<dyn Fn() -> bool + Send + Sync>>);

/// A call whose first attempt has failed.
pub(super) struct Retrying {
    pub(super) call: Call,
    pub(super) policy: Option<RetryPolicy>,
    /// For the next attempt. A free attempt has none. Dropped unspent, it is refunded.
    pub(super) withdrawal: Option<Withdrawal>,
}

impl RetryHandle {
    pub(super) fn new(
        config: RetryConfig,
        emitter: Emitter,
        budget: &RetryBudget,
        total: Option<Duration>,
        circuit: CircuitCheck,
        seed: Option<u64>,
    ) -> Self {
        // Its own: the generator of a thread must not be touched under a lock.
        let random = SmallRng::seed_from_u64(seed.unwrap_or_else(rand::random));
        let shared = RetryShared {
            emitter,
            account: budget.account(),
            total,
            circuit,
            max_attempts: AtomicU64::new(config.max_attempts.into()),
            memory: Mutex::new(Memory { config, stats: Stats::new(), random }),
        };
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
    pub fn config(&self) -> RetryConfig {
        lock(&self.shared.memory).config
    }

    /// The counts, the history and the budget.
    #[must_use]
    pub fn snapshot(&self) -> RetrySnapshot {
        let budget = self.shared.account.budget().snapshot();
        let memory = lock(&self.shared.memory);
        let mut counts = memory.stats.counts;
        counts.succeeded = self.shared.account.successes();
        RetrySnapshot {
            counts,
            classes: memory.stats.classes,
            history: memory.stats.history(),
            learnt_delay: memory.stats.learnt(),
            typical_latency: memory.stats.typical(),
            budget,
        }
    }

    /// Replaces the numbers. They hold for every attempt that fails from now on. Learnt delays, statistics and the budget
    /// stay.
    ///
    /// A stack does not check them again against the numbers of its other stages.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range; the old numbers then stay in force.
    pub fn update(&self, config: RetryConfig) -> Result<(), ConfigError> {
        config.check()?;
        self.replace(config);
        self.shared.emitter.emit(EventKind::Reconfigured);
        Ok(())
    }

    /// Adds a listener, which hears every [event](super#telemetry) from now on.
    pub fn listen(&self, listener: impl Listener) {
        self.shared.emitter.add(listener);
    }

    #[inline]
    pub(super) fn max_attempts(&self) -> u64 {
        // Relaxed: nothing else is read along with it.
        self.shared.max_attempts.load(Ordering::Relaxed)
    }

    /// The limit of the whole call, where an outer layer has one.
    pub(super) fn total(&self) -> Option<Duration> {
        self.shared.total
    }

    /// A first attempt has succeeded. It was waiting since `started`, if it had to wait.
    #[inline]
    pub(super) fn succeeded(&self, started: Option<Instant>) {
        let earlier = self.shared.account.succeeded();
        if let Some(started) = started
            && earlier.is_multiple_of(SAMPLED)
        {
            self.sample(started);
        }
    }

    // Cold: one success in sixteen comes here.
    #[cold]
    fn sample(&self, started: Instant) {
        let latency = clock::now().saturating_duration_since(started);
        lock(&self.shared.memory).stats.latencies.record(latency);
    }

    /// A retry has succeeded.
    // Cold: nearly every call succeeds at its first attempt.
    #[cold]
    pub(super) fn recovered(&self, retrying: &Retrying, started: Option<Instant>) {
        let Retrying { call, policy, .. } = retrying;
        self.shared.account.record(Some(false));
        let now = clock::now();
        let Memory { config, stats, .. } = &mut *lock(&self.shared.memory);
        if let Some(started) = started {
            stats.latencies.record(now.saturating_duration_since(started));
        }
        stats.attempt(AttemptRecord::new(call, None, started, now));
        stats.counts.recovered += 1;
        if let Some(class) = call.class {
            stats.classes[class].recovered += 1;
        }
        stats.learn(policy.as_ref().map_or(config, RetryPolicy::config), call, true);
    }

    /// An attempt has failed: the delay before the next one, if another one is granted.
    // Cold: nearly every call succeeds at its first attempt.
    #[cold]
    pub(super) fn failed(&self, retrying: &mut Retrying, mut failed: Failed) -> Option<Duration> {
        let RetryShared { emitter, account, circuit, memory, .. } = &*self.shared;
        let Retrying { call, policy, withdrawal } = retrying;
        let (now, class, unhealthy) = (clock::now(), failed.outcome.class(), failed.outcome.blames_backend());
        // A retry was withdrawn, so the budget has to hear of its end, also where that says nothing about the backend.
        if unhealthy.is_some() || call.attempt > 1 {
            account.record(unhealthy);
        }
        // Before `judge`, which moves the call on.
        let mut record = AttemptRecord::new(call, class, failed.started, now);
        // The circuit's check, a foreign budget and the log may all ask this handle, so the lock is not held for them.
        failed.circuit_open = circuit.0.as_ref().is_some_and(|is_open| is_open());
        let judged = {
            let Memory { config, stats, random } = &mut *lock(memory);
            let config = policy.as_ref().map_or(&*config, RetryPolicy::config);
            if unhealthy == Some(true) {
                stats.learn(config, call, false);
            }
            let unit = random.random();
            call.judge(config, &failed, stats, unit, now)
        };
        let decision = judged.and_then(|delay| {
            if failed.outcome != Outcome::EndpointUnavailable {
                *withdrawal = Some(account.withdraw().map_err(Stop::Budget)?);
            }
            Ok(delay)
        });
        record.stop = decision.err();
        lock(memory).stats.decided(record);
        decision
            .inspect_err(|stop| {
                let (attempt, class) = (record.attempt, class.map(ErrorClass::as_str));
                tracing::debug!(target: TARGET, layer = %emitter.name(), attempt, class, %stop, "no retry");
            })
            .ok()
    }

    /// A retry is sent.
    pub(super) fn retried(&self, call: &Call) {
        lock(&self.shared.memory).stats.counts.retries += 1;
        let Call { attempt, class, delay, .. } = *call;
        self.shared.emitter.emit(EventKind::Retried { attempt, class, delay });
    }

    /// A call has ended with the readiness error of the service that was to take the retry.
    pub(super) fn unready(&self) {
        let counts = &mut lock(&self.shared.memory).stats.counts;
        counts.failed += 1;
        counts.not_ready += 1;
    }

    /// A call has ended although a retry was granted: its copy had become unusable.
    // Cold: it takes a failure and an upload that ends in between.
    #[cold]
    pub(super) fn lost(&self) {
        lock(&self.shared.memory).stats.stop(Stop::NotResendable);
    }

    /// The future of a call was dropped before it completed, during an attempt if `running`.
    // Cold: nearly every call completes.
    #[cold]
    pub(super) fn abandoned(&self, running: bool) {
        if running {
            self.shared.account.record(None);
        }
        lock(&self.shared.memory).stats.counts.abandoned += 1;
    }
}

impl KeyedState for RetryHandle {
    fn is_in_use(&self) -> bool {
        // The registry holds one reference; each call in flight and each handle of a user holds another.
        Arc::strong_count(&self.shared) > 1
    }

    fn is_evictable(&self, idle: Duration) -> bool {
        self.shared.account.budget().is_forgettable(idle)
    }
}

impl ConfiguredState for RetryHandle {
    type Config = RetryConfig;

    fn replace(&self, config: RetryConfig) {
        // Under the lock. Without it, of two updates one could win here and the other there.
        let mut memory = lock(&self.shared.memory);
        memory.config = config;
        self.shared.max_attempts.store(config.max_attempts.into(), Ordering::Relaxed);
    }
}

impl fmt::Debug for CircuitCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "CircuitCheck" } else { "no CircuitCheck" })
    }
}

/// One first attempt in sixteen tells how long it took; the others need not take the lock for it.
const SAMPLED: u64 = 16;
