//! The shared state of a budget, and its lock.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    account::{Account, Stripe, total},
    config::RetryBudgetConfig,
    snapshot::RetryBudgetSnapshot,
    state::{RejectedBy, Source, State},
};
use crate::{
    call::ConfigError,
    rt::{
        clock,
        sync::{Mutex, lock},
    },
};

/// A budget for the retries and hedges to one backend. Made by [`RetryBudgetConfig::build`].
///
/// Give clones of it to every layer that sends requests to that backend.
///
/// # Clone
///
/// Clones share the balance, the health and the counts.
#[derive(Clone)]
pub struct RetryBudget {
    kind: Kind,
    /// Whether a layer that holds this records its attempts.
    pub(super) records: bool,
}

#[derive(Clone)]
enum Kind {
    Gated(Arc<Mutex<Ledger>>),
    Unlimited,
    #[cfg_attr(not(feature = "tower"), expect(dead_code, reason = "tower's trait is the only one so far"))]
    Foreign(Arc<dyn Foreign>),
}

/// A budget of another crate: it is told of successes, and says yes or no.
pub(super) trait Foreign: Send + Sync {
    fn deposit(&self);
    fn withdraw(&self) -> bool;
}

struct Ledger {
    state: State,
    /// The stripes in which layers count successes, and how many successes of each were seen.
    accounts: Vec<(Weak<[Stripe]>, u64)>,
    /// The counts; the rest of the snapshot comes from the state.
    counts: RetryBudgetSnapshot,
}

impl RetryBudgetConfig {
    /// Checks the numbers and makes the budget.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range.
    pub fn build(self) -> Result<RetryBudget, ConfigError> {
        self.check()?;
        Ok(RetryBudget::checked(self))
    }
}

impl RetryBudget {
    /// The config has been checked.
    pub(crate) fn checked(config: RetryBudgetConfig) -> Self {
        let state = State::new(config, clock::now());
        let ledger = Ledger { state, accounts: Vec::new(), counts: RetryBudgetSnapshot::default() };
        Self::of_kind(Kind::Gated(Arc::new(Mutex::new(ledger))))
    }

    /// Grants every withdrawal. Only `max_attempts` and `max_hedges` then limit further attempts.
    ///
    /// With three attempts a backend that fails gets three times its load.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self::of_kind(Kind::Unlimited)
    }

    /// The side of this budget for an outer layer, such as a retry around a hedge: the layer withdraws, and records no
    /// attempt.
    ///
    /// The innermost layer that shares the budget takes the budget itself and records every attempt. Without this, an
    /// attempt through both layers would count twice.
    ///
    /// ```
    /// use tower_reliability::{
    ///     hedge::HedgeConfig, retry::RetryConfig, retry_budget::RetryBudgetConfig,
    /// };
    ///
    /// let budget = RetryBudgetConfig::new().build()?;
    /// let outer = RetryConfig::new().build()?.budget(budget.withdraw_only());
    /// let inner = HedgeConfig::new().build()?.budget(budget);
    /// # let _ = (outer, inner);
    /// # Ok::<(), tower_reliability::ConfigError>(())
    /// ```
    #[must_use]
    pub fn withdraw_only(&self) -> Self {
        Self { records: false, ..self.clone() }
    }

    /// The other side: a layer that holds it records.
    pub(super) fn recording(&self) -> Self {
        Self { records: true, ..self.clone() }
    }

    #[cfg(feature = "tower")]
    pub(super) fn foreign(budget: impl Foreign + 'static) -> Self {
        Self::of_kind(Kind::Foreign(Arc::new(budget)))
    }

    const fn of_kind(kind: Kind) -> Self {
        Self { kind, records: true }
    }

    /// A budget with the same numbers, and with a balance and a health of its own.
    ///
    /// A budget of another crate has no numbers to copy; its clone shares the balance.
    #[must_use]
    pub fn isolated(&self) -> Self {
        match &self.kind {
            Kind::Gated(ledger) => Self::checked(*lock(ledger).state.config()),
            Kind::Unlimited | Kind::Foreign(_) => self.recording(),
        }
    }

    /// Whether a new budget could take the place of this one without loss, after so much time without a call.
    pub(crate) fn is_forgettable(&self, idle: Duration) -> bool {
        match &self.kind {
            Kind::Gated(ledger) => {
                let mut ledger = lock(ledger);
                ledger.look();
                ledger.state.is_forgettable(idle)
            }
            Kind::Unlimited | Kind::Foreign(_) => true,
        }
    }

    /// Whether a clone shares the balance of this budget, and of no other one.
    pub(super) fn is_shared(&self) -> bool {
        matches!(&self.kind, Kind::Gated(ledger) if Arc::strong_count(ledger) > 1)
    }

    /// The balance and the counts. A budget of another crate looks unlimited.
    #[must_use]
    pub fn snapshot(&self) -> RetryBudgetSnapshot {
        let Kind::Gated(ledger) = &self.kind else { return RetryBudgetSnapshot::UNLIMITED };
        let mut ledger = lock(ledger);
        ledger.look();
        let Ledger { state, counts, .. } = &*ledger;
        let balance = state.balance().max(0.0) + state.reserve();
        let (failure_rate, health_gate) = (state.failure_rate(), state.health_gate());
        RetryBudgetSnapshot { balance, failure_rate, health_gate, ..*counts }
    }

    /// An account for a layer that sends more than one request for one call.
    pub(crate) fn account(&self) -> Account {
        Account::open(self.clone())
    }

    pub(super) fn register(&self, succeeded: &Arc<[Stripe]>) {
        if let Kind::Gated(ledger) = &self.kind {
            lock(ledger).accounts.push((Arc::downgrade(succeeded), 0));
        }
    }

    /// Reads the successes so far.
    pub(super) fn settle(&self) {
        if let Kind::Gated(ledger) = &self.kind {
            lock(ledger).look();
        }
    }

    /// Tells another crate's budget of a success. This crate's reads the stripes.
    #[inline]
    pub(super) fn deposit(&self) {
        if let Kind::Foreign(budget) = &self.kind {
            budget.deposit();
        }
    }

    pub(super) fn record(&self, unhealthy: Option<bool>) {
        match &self.kind {
            Kind::Gated(ledger) => {
                let mut ledger = lock(ledger);
                ledger.look();
                ledger.state.record(unhealthy);
            }
            Kind::Foreign(budget) if unhealthy == Some(false) => budget.deposit(),
            Kind::Foreign(_) | Kind::Unlimited => {}
        }
    }

    pub(super) fn withdraw(&self) -> Result<Source, RejectedBy> {
        match &self.kind {
            Kind::Gated(ledger) => {
                let mut ledger = lock(ledger);
                ledger.look();
                let withdrawn = ledger.state.withdraw();
                match withdrawn {
                    Ok(_) => {}
                    Err(RejectedBy::Health) => ledger.counts.rejected_by_health += 1,
                    Err(RejectedBy::Ratio) => ledger.counts.rejected_by_ratio += 1,
                }
                withdrawn
            }
            Kind::Foreign(budget) if !budget.withdraw() => Err(RejectedBy::Ratio),
            Kind::Foreign(_) | Kind::Unlimited => Ok(Source::Reserve),
        }
    }

    pub(super) fn spend(&self, source: Source) {
        if let Kind::Gated(ledger) = &self.kind {
            let mut ledger = lock(ledger);
            ledger.look();
            ledger.state.spend(source);
            ledger.counts.spent += 1;
        }
    }

    pub(super) fn refund(&self, source: Source) {
        match &self.kind {
            Kind::Gated(ledger) => lock(ledger).state.refund(source),
            // tower's trait has no other way of giving back.
            Kind::Foreign(budget) => budget.deposit(),
            Kind::Unlimited => {}
        }
    }
}

impl Ledger {
    /// Lets time pass, and reads the successes of that time.
    fn look(&mut self) {
        let mut succeeded = 0;
        self.accounts.retain_mut(|(account, seen)| {
            let Some(account) = account.upgrade() else { return false };
            let total = total(&account);
            succeeded += total - std::mem::replace(seen, total);
            true
        });
        self.state.look(succeeded, clock::now());
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Gated(_) => write!(f, "RetryBudget({:?})", self.snapshot()),
            Kind::Unlimited => f.write_str("RetryBudget(unlimited)"),
            Kind::Foreign(_) => f.write_str("RetryBudget(foreign)"),
        }
    }
}
