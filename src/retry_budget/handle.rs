//! Where a budget lives.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use super::{
    account::{Account, Stripe, total},
    config::RetryBudgetConfig,
    snapshot::RetryBudgetSnapshot,
    state::{NoCredit, Purse, State},
};
use crate::{
    call::ConfigError,
    rt::{
        clock,
        sync::{Mutex, lock},
    },
};

/// A budget for the retries and hedges to one peer. Made by [`RetryBudgetConfig::build`].
///
/// Give clones of it to every layer that sends requests to that peer.
///
/// # Clone
///
/// Clones share the budget.
#[derive(Clone)]
pub struct RetryBudget {
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Gated(Arc<Mutex<Ledger>>),
    Unlimited,
    #[cfg_attr(not(feature = "tower"), expect(dead_code, reason = "tower's trait is the only one so far"))]
    Foreign(Arc<dyn Foreign>),
}

/// A budget that somebody else wrote: it is told of requests, and says yes or no.
pub(super) trait Foreign: Send + Sync {
    fn deposit(&self);
    fn withdraw(&self) -> bool;
}

struct Ledger {
    state: State,
    /// Who counts calls that succeed, and how many of them have been seen.
    accounts: Vec<(Weak<[Stripe]>, u64)>,
    /// The counts; the rest of it is the state's to say.
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
        Self { kind: Kind::Gated(Arc::new(Mutex::new(ledger))) }
    }

    /// Credit without end. What limits the retries then is the number of attempts alone.
    ///
    /// With three attempts a peer that fails gets three times its load.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self { kind: Kind::Unlimited }
    }

    #[cfg(feature = "tower")]
    pub(super) fn foreign(budget: impl Foreign + 'static) -> Self {
        Self { kind: Kind::Foreign(Arc::new(budget)) }
    }

    /// What it gives at the moment. One that is not this crate's own looks unlimited.
    #[must_use]
    pub fn snapshot(&self) -> RetryBudgetSnapshot {
        let Kind::Gated(ledger) = &self.kind else { return RetryBudgetSnapshot::UNLIMITED };
        let mut ledger = lock(ledger);
        ledger.look();
        let Ledger { state, counts, .. } = &*ledger;
        let balance = state.balance().max(0.0) + state.reserve();
        RetryBudgetSnapshot { balance, failure_rate: state.failure_rate(), gate: state.gate(), ..*counts }
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

    /// Counts what has succeeded so far.
    pub(super) fn settle(&self) {
        if let Kind::Gated(ledger) = &self.kind {
            lock(ledger).look();
        }
    }

    /// The success of a first attempt is counted already; another's budget is told.
    #[inline]
    pub(super) fn deposit(&self) {
        if let Kind::Foreign(budget) = &self.kind {
            budget.deposit();
        }
    }

    pub(super) fn record(&self, first: bool, failed: bool) {
        match &self.kind {
            Kind::Gated(ledger) => {
                let mut ledger = lock(ledger);
                ledger.look();
                ledger.state.record(first, failed);
            }
            Kind::Foreign(budget) if first => budget.deposit(),
            Kind::Foreign(_) | Kind::Unlimited => {}
        }
    }

    pub(super) fn withdraw(&self) -> Result<Purse, NoCredit> {
        match &self.kind {
            Kind::Gated(ledger) => {
                let mut ledger = lock(ledger);
                ledger.look();
                let withdrawn = ledger.state.withdraw();
                match withdrawn {
                    Ok(_) => {}
                    Err(NoCredit::PeerIsIll) => ledger.counts.peer_was_ill += 1,
                    Err(NoCredit::ShareIsUsedUp) => ledger.counts.share_was_used_up += 1,
                }
                withdrawn
            }
            Kind::Foreign(budget) if !budget.withdraw() => Err(NoCredit::ShareIsUsedUp),
            Kind::Foreign(_) | Kind::Unlimited => Ok(Purse::Reserve),
        }
    }

    pub(super) fn spend(&self, purse: Purse) {
        if let Kind::Gated(ledger) = &self.kind {
            let mut ledger = lock(ledger);
            ledger.look();
            ledger.state.spend(purse);
            ledger.counts.spent += 1;
        }
    }

    pub(super) fn refund(&self, purse: Purse) {
        match &self.kind {
            Kind::Gated(ledger) => lock(ledger).state.refund(purse),
            // It has no other way of giving back; the one it gave was worth at least one request.
            Kind::Foreign(budget) => budget.deposit(),
            Kind::Unlimited => {}
        }
    }
}

impl Ledger {
    /// Lets time pass, and counts what has succeeded meanwhile.
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
            Kind::Foreign(_) => f.write_str("RetryBudget(another's)"),
        }
    }
}
