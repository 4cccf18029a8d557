//! Where the memory of a retry lives, and the account with its budget.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    config::{RetryConfig, RetryPolicy},
    snapshot::RetrySnapshot,
    state::{Facts, Next, Progress, Stop},
    stats::{AttemptRecord, Stats},
};
use crate::{
    call::{ConfigError, Deadline, ErrorClass, Outcome},
    retry_budget::{Account, Credit, RetryBudget},
    rt::{
        clock,
        sync::{AtomicU64, Mutex, Ordering, lock},
    },
    telemetry::Name,
};

/// A hold on a retry: look at its counts and its history, change its numbers.
///
/// # Clone
///
/// Clones, and all services and handles of one layer, share the numbers, the memory and the budget.
#[derive(Clone, Debug)]
pub struct RetryHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: Name,
    account: Account,
    /// How long the whole call may take, where a layer outside has a limit.
    total: Option<Duration>,
    /// That of the config, where a call can read it without the lock.
    max_attempts: AtomicU64,
    memory: Mutex<Memory>,
}

#[derive(Debug)]
struct Memory {
    config: RetryConfig,
    stats: Stats,
    random: Option<Box<StdRng>>,
}

/// What is known of an attempt that has failed.
pub(super) struct Failed {
    pub(super) outcome: Outcome,
    /// When it was first found waiting, if it was.
    pub(super) started: Option<Instant>,
    pub(super) deadline: Option<Deadline>,
    /// Whether it was sent as the last one.
    pub(super) was_last: bool,
    pub(super) may_resend: bool,
    pub(super) retried_below: bool,
}

impl RetryHandle {
    pub(super) fn new(
        config: RetryConfig,
        name: Name,
        budget: &RetryBudget,
        total: Option<Duration>,
        seed: Option<u64>,
    ) -> Self {
        let random = seed.map(|seed| Box::new(StdRng::seed_from_u64(seed)));
        let shared = Shared {
            name,
            account: budget.account(),
            total,
            max_attempts: AtomicU64::new(config.max_attempts.into()),
            memory: Mutex::new(Memory { config, stats: Stats::new(), random }),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The layer's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.shared.name
    }

    /// The budget.
    #[must_use]
    pub fn budget(&self) -> RetryBudget {
        self.shared.account.budget().clone()
    }

    /// The numbers in force.
    #[must_use]
    pub fn config(&self) -> RetryConfig {
        lock(&self.shared.memory).config
    }

    /// The counts, the history, and the budget.
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

    /// Puts other numbers in force, for calls that fail from now on too. The memory stays.
    ///
    /// In a stack, what they are to the numbers of other stages is not checked again.
    ///
    /// # Errors
    ///
    /// If a number is out of its range; nothing has changed then.
    pub fn update(&self, config: RetryConfig) -> Result<(), ConfigError> {
        config.check()?;
        // Under the lock, or of two updates one could win there and the other here.
        let mut memory = lock(&self.shared.memory);
        memory.config = config;
        self.shared.max_attempts.store(config.max_attempts.into(), Ordering::Relaxed);
        Ok(())
    }

    #[inline]
    pub(super) fn max_attempts(&self) -> u64 {
        self.shared.max_attempts.load(Ordering::Relaxed)
    }

    /// A first attempt has succeeded. It had to wait since `started`, if it had to.
    #[inline]
    pub(super) fn succeeded(&self, started: Option<Instant>) {
        let before = self.shared.account.succeeded();
        if let Some(started) = started
            && before.is_multiple_of(SAMPLED)
        {
            self.sample(started);
        }
    }

    #[cold]
    fn sample(&self, started: Instant) {
        let latency = clock::now().saturating_duration_since(started);
        lock(&self.shared.memory).stats.latencies.record(latency);
    }

    /// A retry has succeeded.
    #[cold]
    pub(super) fn recovered(&self, call: &Progress, started: Option<Instant>, policy: Option<&RetryPolicy>) {
        self.shared.account.record(!call.counted, false);
        let now = clock::now();
        let memory = &mut *lock(&self.shared.memory);
        if let Some(started) = started {
            memory.stats.latencies.record(now.saturating_duration_since(started));
        }
        memory.stats.attempt(call.record(None, started, now));
        memory.stats.counts.recovered += 1;
        if let Some(class) = call.class {
            memory.stats.classes[class].recovered += 1;
        }
        memory.learn(call, policy, true);
    }

    /// An attempt has failed: how long to wait before the next, and on whose credit, or why there is none.
    #[cold]
    pub(super) fn failed(
        &self,
        call: &mut Progress,
        failed: &Failed,
        policy: Option<&RetryPolicy>,
    ) -> Result<(Duration, Option<Credit>), Stop> {
        let now = clock::now();
        if let Some(ill) = failed.outcome.blames_peer() {
            // What was turned away before it reached anybody is no request yet.
            self.shared.account.record(!std::mem::replace(&mut call.counted, true), ill);
        }
        // Before it is judged, which moves the call on.
        let mut record = call.record(failed.outcome.class(), failed.started, now);
        let judged = lock(&self.shared.memory).judge(call, failed, policy, self.shared.total, now);
        // Neither a budget that somebody else wrote nor a log line is met with the lock held: both may ask the handle.
        let decision = judged.and_then(|next| {
            let credit =
                if next.free { None } else { Some(self.shared.account.withdraw().map_err(Stop::NoCredit)?) };
            Ok((next.delay, credit))
        });
        record.stop = decision.as_ref().err().copied();
        lock(&self.shared.memory).stats.decided(record);
        self.log(call.attempts, failed.outcome.class(), &decision);
        decision
    }

    fn log(
        &self,
        attempt: u32,
        class: Option<ErrorClass>,
        decision: &Result<(Duration, Option<Credit>), Stop>,
    ) {
        let (layer, class) = (&self.shared.name, class.map_or("none", ErrorClass::as_str));
        match decision {
            Ok((delay, _)) => {
                tracing::debug!(target: TARGET, %layer, attempt, class, delay_ms = delay.as_millis(), "failed, will try again");
            }
            Err(stop) => tracing::debug!(target: TARGET, %layer, attempt, class, %stop, "failed"),
        }
    }

    /// A retry is sent.
    pub(super) fn retried(&self) {
        lock(&self.shared.memory).stats.counts.retries += 1;
    }

    /// A call has ended with the error of a service that was to be made ready for the retry.
    pub(super) fn unready(&self) {
        let counts = &mut lock(&self.shared.memory).stats.counts;
        counts.failed += 1;
        counts.not_ready += 1;
    }

    /// A call has ended although a retry was granted: what it would have sent was lost in between.
    #[cold]
    pub(super) fn lost(&self) {
        lock(&self.shared.memory).stats.stop(Stop::NotRepeatable);
    }

    /// The future of a call was dropped before it was done.
    #[cold]
    pub(super) fn abandoned(&self) {
        lock(&self.shared.memory).stats.counts.abandoned += 1;
    }
}

impl Memory {
    /// Judges an attempt; the budget has not been asked yet.
    fn judge(
        &mut self,
        call: &mut Progress,
        failed: &Failed,
        policy: Option<&RetryPolicy>,
        total: Option<Duration>,
        now: Instant,
    ) -> Result<Next, Stop> {
        if failed.outcome.blames_peer() == Some(true) {
            self.learn(call, policy, false);
        }
        let unit = self.random.as_mut().map_or_else(rand::random, RngExt::random);
        let facts = Facts {
            outcome: failed.outcome,
            was_last: failed.was_last,
            may_resend: failed.may_resend,
            retried_below: failed.retried_below,
            remaining: failed.deadline.map(|deadline| deadline.instant().saturating_duration_since(now)),
            total,
            typical: self.stats.typical().unwrap_or_default(),
            learnt: self.stats.learnt(),
            unit,
        };
        let config = policy.map_or(&self.config, RetryPolicy::config);
        call.judge(config, &facts, now)
    }

    fn learn(&mut self, call: &Progress, policy: Option<&RetryPolicy>, worked: bool) {
        let config = policy.map_or(&self.config, RetryPolicy::config);
        if let Some(start) = config.backoff.learns_from()
            && call.learns
        {
            self.stats.learn(start, config.max_delay, call.delay, worked);
        }
    }
}

impl Progress {
    fn record(&self, class: Option<ErrorClass>, started: Option<Instant>, now: Instant) -> AttemptRecord {
        let latency = started.map_or(Duration::ZERO, |started| now.saturating_duration_since(started));
        AttemptRecord { at: now, attempt: self.attempts, class, stop: None, delay: self.delay, latency }
    }
}

/// One first attempt in so many tells how long it took; the rest need not take the lock for it.
const SAMPLED: u64 = 16;
const TARGET: &str = "tower_reliability";
