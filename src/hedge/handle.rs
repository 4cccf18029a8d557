//! Where what a hedge has learnt lives, and the account with its budget.

use std::{sync::Arc, time::Duration};

use super::{
    config::{After, HedgeConfig},
    learning::{Learning, is_sample},
    snapshot::{ClassDelay, HedgeCounts, HedgeSnapshot},
    state::{Judgement, Progress, Stop},
};
use crate::{
    call::{ConfigError, Outcome},
    retry_budget::{Account, Credit, RetryBudget},
    rt::{
        clock,
        sync::{AtomicBool, AtomicU64, Mutex, Ordering, lock},
    },
    telemetry::Name,
};

/// A hold on a hedge: look at its counts and delays, change its numbers.
///
/// # Clone
///
/// Clones, and all services and handles of one layer, share the numbers, what was learnt, and the budget.
#[derive(Clone, Debug)]
pub struct HedgeHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: Name,
    /// Where credit comes from.
    account: Account,
    /// Below a retry, calls are counted here, with no budget: the retry reports them to the one they share.
    below_retry: Option<Account>,
    /// Whether calls shall tell how long they take.
    learns: AtomicBool,
    not_repeatable: AtomicU64,
    classes: Box<[Class]>,
    memory: Mutex<Memory>,
}

/// What a call of a class reads and writes when it has to wait. One that has not, does not come here; one that has, arms
/// a timer, which costs more than a cache line that others write too.
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

/// How a call ended, other than by the success of its first attempt.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    WonByHedge,
    /// By this failure, if the budget has not been told of it.
    Failed(Option<Outcome>),
    Abandoned,
}

/// Leave to send one hedge. Its credit goes back when it is dropped and was not spent.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) last: bool,
    credit: Option<Credit>,
    /// Taken when it is sent.
    handle: Option<HedgeHandle>,
}

impl HedgeHandle {
    pub(super) fn new(config: HedgeConfig, name: Name, budget: &RetryBudget, below_retry: bool) -> Self {
        let counts = HedgeCounts::default();
        let shared = Shared {
            name,
            account: budget.account(),
            below_retry: below_retry.then(|| RetryBudget::unlimited().account()),
            learns: AtomicBool::new(false),
            not_repeatable: AtomicU64::new(0),
            classes: (0..MAX_CLASSES).map(|_| Class::default()).collect(),
            memory: Mutex::new(Memory { config, counts, learning: Learning::default() }),
        };
        shared.publish(&lock(&shared.memory));
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
    pub fn config(&self) -> HedgeConfig {
        lock(&self.shared.memory).config
    }

    /// The counts, the delays, and the budget.
    #[must_use]
    pub fn snapshot(&self) -> HedgeSnapshot {
        let budget = self.shared.account.budget().snapshot();
        let Memory { config, mut counts, ref learning } = *lock(&self.shared.memory);
        counts.won_by_primary = self.shared.calls().successes();
        counts.not_repeatable += self.shared.not_repeatable.load(Ordering::Relaxed);
        let classes = (0..MAX_CLASSES).filter(|class| *class == 0 || learning.samples(*class) > 0);
        let classes = classes.map(|class| ClassDelay {
            class: class.into(),
            delay: learning.delay(class, &config),
            samples: learning.samples(class),
        });
        HedgeSnapshot { counts, classes: classes.collect(), budget }
    }

    /// Puts other numbers in force, for calls that are under way too. What was learnt stays.
    ///
    /// In a stack, what they are to the numbers of other stages is not checked again.
    ///
    /// # Errors
    ///
    /// If a number is out of its range; nothing has changed then.
    pub fn update(&self, config: HedgeConfig) -> Result<(), ConfigError> {
        config.check()?;
        let mut memory = lock(&self.shared.memory);
        memory.config = config;
        self.shared.publish(&memory);
        Ok(())
    }

    /// Whether a retry above reports to the same budget.
    pub(super) fn is_below_retry(&self) -> bool {
        self.shared.below_retry.is_some()
    }

    /// After what time a call of this class is hedged; `None` if not for the time it takes.
    pub(super) fn delay(&self, class: u8) -> Option<Duration> {
        let nanos = self.shared.classes[usize::from(class)].delay.load(Ordering::Relaxed);
        (nanos != NEVER).then(|| Duration::from_nanos(nanos))
    }

    /// The first attempt is found waiting, for the first time.
    pub(super) fn waits(&self, call: &mut Progress, has_copy: bool) {
        if !has_copy {
            if self.delay(call.class).is_some() {
                self.shared.not_repeatable.fetch_add(1, Ordering::Relaxed);
                call.stop();
            }
        } else if self.shared.learns.load(Ordering::Relaxed) {
            let number = self.shared.classes[usize::from(call.class)].waited.fetch_add(1, Ordering::Relaxed);
            call.started = is_sample(number).then(clock::now);
        }
    }

    /// The first attempt has succeeded.
    #[inline]
    pub(super) fn won_by_primary(&self, call: &Progress) {
        self.shared.calls().succeeded();
        if call.started.is_some() {
            self.learn(call, true);
        }
    }

    /// An attempt has failed. Unless that is conclusive, the budget is told of it.
    #[cold]
    pub(super) fn failed(&self, call: &mut Progress, primary: bool, outcome: Outcome) -> Judgement {
        let judgement = Judgement::of(outcome, &lock(&self.shared.memory).config);
        if primary {
            // A sample is how long successes take.
            call.started = None;
        }
        // Below a retry, that of the first attempt may yet become the call's, and be reported there.
        if judgement != Judgement::Conclusive
            && (!primary || !self.is_below_retry())
            && let Some(ill) = outcome.blames_peer()
        {
            let first = primary && !self.is_below_retry() && call.count();
            self.shared.account.record(first, ill);
        }
        judgement
    }

    /// Asks for one more attempt; `free` where it takes the place of one that was turned away on this side.
    #[cold]
    pub(super) fn grant(&self, call: &mut Progress, repeatable: bool, free: bool) -> Option<Grant> {
        let config = self.config();
        let granted = call.may_hedge(repeatable, &config).and_then(|()| {
            let credit =
                if free { None } else { Some(self.shared.account.withdraw().map_err(Stop::NoCredit)?) };
            Ok(Grant { last: call.grant(&config), credit, handle: Some(self.clone()) })
        });
        granted
            .inspect_err(|stop| {
                call.stop();
                lock(&self.shared.memory).counts.stop(*stop);
                tracing::debug!(target: TARGET, layer = %self.shared.name, ?stop, "no hedge");
            })
            .ok()
    }

    /// A call has ended otherwise than by the success of its first attempt. `masked` is what became of that, if it
    /// had failed and the caller does not get to know.
    #[cold]
    pub(super) fn ended(&self, call: &mut Progress, end: End, masked: Option<Outcome>) {
        self.learn(call, false);
        let ill = match end {
            End::WonByHedge => Some(false),
            End::Failed(outcome) => outcome.and_then(|outcome| outcome.blames_peer()),
            End::Abandoned => None,
        };
        if self.is_below_retry() {
            if let Some(ill) = masked.and_then(|outcome| outcome.blames_peer()) {
                self.shared.account.record(false, ill);
            }
        } else if let Some(ill) = ill {
            self.shared.account.record(call.count(), ill);
        }
        let counts = &mut lock(&self.shared.memory).counts;
        *match end {
            End::WonByHedge => &mut counts.won_by_hedge,
            End::Failed(_) => &mut counts.failed,
            End::Abandoned => &mut counts.abandoned,
        } += 1;
    }

    /// The first attempt took so long, or longer if it was cancelled.
    #[cold]
    fn learn(&self, call: &Progress, finished: bool) {
        let class = &self.shared.classes[usize::from(call.class)].delay;
        if call.started.is_some()
            && let Some(latency) = call.latency(finished, self.delay(call.class), clock::now())
        {
            let Memory { config, learning, .. } = &mut *lock(&self.shared.memory);
            class.store(nanos(learning.record(call.class, latency, config)), Ordering::Relaxed);
        }
    }
}

impl Grant {
    /// The hedge is sent.
    pub(super) fn spend(mut self) {
        if let Some(credit) = self.credit.take() {
            credit.spend();
        }
        if let Some(handle) = self.handle.take() {
            lock(&handle.shared.memory).counts.hedges += 1;
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

impl Shared {
    /// Where a call that succeeds is counted.
    fn calls(&self) -> &Account {
        self.below_retry.as_ref().unwrap_or(&self.account)
    }

    /// Puts what follows from the numbers where calls can read it without the lock.
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

/// Enough for the routes of most peers. A class costs 16 bytes; once one has waited, it and all those below it cost
/// another 1 KiB each.
pub(super) const MAX_CLASSES: u8 = 64;
/// No hedge for the time a call takes; as a delay it would be 584 years.
const NEVER: u64 = u64::MAX;
const TARGET: &str = "tower_reliability";
