//! What one layer does with a budget: it counts the calls that succeed, and withdraws.

use std::sync::Arc;

use super::{
    handle::RetryBudget,
    state::{NoCredit, Purse},
};
use crate::sync::{AtomicU64, Ordering, OwnLine, stripe_count, thread_number};

/// A layer's account with a budget.
///
/// The call that succeeds at its first attempt, which is nearly every call, is one addition to a counter of its thread's
/// own. Whoever withdraws, or reports a failure, looks at the counters.
#[derive(Debug)]
pub(crate) struct Account {
    budget: RetryBudget,
    succeeded: Arc<Succeeded>,
}

/// How many calls succeeded at their first attempt, in stripes.
#[derive(Debug)]
pub(super) struct Succeeded(Box<[OwnLine<AtomicU64>]>);

impl Account {
    pub(super) fn open(budget: RetryBudget) -> Self {
        let stripes = (0..stripe_count()).map(|_| OwnLine::default()).collect();
        let succeeded = Arc::new(Succeeded(stripes));
        budget.register(&succeeded);
        Self { budget, succeeded }
    }

    /// A call has succeeded at its first attempt. Gives how many did before, on this thread or on one that shares its
    /// counter.
    #[inline]
    pub(crate) fn succeeded(&self) -> u64 {
        self.budget.deposit();
        self.succeeded.own().fetch_add(1, Ordering::Relaxed)
    }

    /// How many calls have succeeded at their first attempt.
    pub(crate) fn successes(&self) -> u64 {
        self.succeeded.total()
    }

    /// An attempt has ended, other than by the success of a first attempt.
    pub(crate) fn record(&self, first: bool, failed: bool) {
        self.budget.record(first, failed);
    }

    /// Asks for credit for one more attempt.
    pub(crate) fn withdraw(&self) -> Result<Credit, NoCredit> {
        let purse = self.budget.withdraw()?;
        Ok(Credit { budget: self.budget.clone(), purse: Some(purse) })
    }

    /// The budget.
    pub(crate) const fn budget(&self) -> &RetryBudget {
        &self.budget
    }
}

impl Succeeded {
    #[inline]
    fn own(&self) -> &AtomicU64 {
        &self.0[thread_number() & (self.0.len() - 1)].0
    }

    pub(super) fn total(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
    }
}

/// Credit for one more attempt. It goes back to the budget when it is dropped and was not spent.
#[derive(Debug)]
#[must_use = "it goes back when it is dropped"]
pub(crate) struct Credit {
    budget: RetryBudget,
    purse: Option<Purse>,
}

impl Credit {
    /// The attempt is sent.
    pub(crate) fn spend(mut self) {
        if let Some(purse) = self.purse.take() {
            self.budget.spend(purse);
        }
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        if let Some(purse) = self.purse.take() {
            self.budget.refund(purse);
        }
    }
}
