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
    succeeded: Arc<[Stripe]>,
}

/// How many calls succeeded at their first attempt, on some of the threads.
pub(super) type Stripe = OwnLine<AtomicU64>;

impl Account {
    pub(super) fn open(budget: RetryBudget) -> Self {
        let succeeded = (0..stripe_count()).map(|_| Stripe::default()).collect();
        budget.register(&succeeded);
        Self { budget, succeeded }
    }

    /// A call has succeeded at its first attempt. Gives how many did before, on this thread or on one that shares its
    /// counter.
    #[inline]
    pub(crate) fn succeeded(&self) -> u64 {
        self.budget.deposit();
        // The number of stripes is a power of two.
        self.succeeded[thread_number() & (self.succeeded.len() - 1)].0.fetch_add(1, Ordering::Relaxed)
    }

    /// How many calls have succeeded at their first attempt.
    pub(crate) fn successes(&self) -> u64 {
        total(&self.succeeded)
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

/// How many calls succeeded at their first attempt, on all threads.
pub(super) fn total(stripes: &[Stripe]) -> u64 {
    stripes.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
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
