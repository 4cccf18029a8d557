//! What one layer does with a budget: it counts the calls that succeed, and withdraws.

use std::sync::Arc;

use super::{
    handle::RetryBudget,
    state::{NoCredit, Purse},
};
use crate::rt::sync::{AtomicU64, Ordering, OwnLine, stripe_count, thread_number};

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

impl Drop for Account {
    /// The budget outlives it, and what succeeded here since anybody looked has been earned.
    fn drop(&mut self) {
        self.budget.settle();
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

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::{
        sync::{
            Barrier,
            atomic::{AtomicU64 as Count, Ordering::SeqCst},
        },
        thread,
        time::Duration,
    };

    use super::*;
    use crate::retry_budget::RetryBudgetConfig;

    /// Nothing but the share, and nothing of it is forgotten while a test runs.
    fn by_share(share: f64) -> RetryBudget {
        let day = Duration::from_secs(24 * 60 * 60);
        let config = RetryBudgetConfig::new().share(share).start(0).without_health_gate().window(day);
        config.build().expect("valid")
    }

    fn assert_balance(budget: &RetryBudget, expected: f64) {
        let balance = budget.snapshot().balance;
        assert!((balance - expected).abs() < 1e-3, "{balance} is not {expected}");
    }

    /// Every thread does `calls` calls that succeed; after each of them it asks, and spends as `spends` says.
    fn race(
        budget: &RetryBudget,
        threads: usize,
        calls: usize,
        spends: impl Fn(usize) -> bool + Sync,
    ) -> u64 {
        let (granted, together) = (Count::new(0), Barrier::new(threads));
        // Threads share accounts four by four, as the clones of a service do.
        let accounts: Vec<_> = (0..threads.div_ceil(4)).map(|_| budget.account()).collect();
        thread::scope(|scope| {
            for thread in 0..threads {
                let (granted, together, spends) = (&granted, &together, &spends);
                let account = &accounts[thread / 4];
                scope.spawn(move || {
                    together.wait();
                    for call in 0..calls {
                        account.succeeded();
                        if let Ok(credit) = account.withdraw()
                            && spends(call)
                        {
                            granted.fetch_add(1, SeqCst);
                            credit.spend();
                        }
                    }
                });
            }
        });
        granted.into_inner()
    }

    #[test]
    fn case_38_with_64_threads_exactly_the_share_is_granted() {
        for (share, expected) in [(0.1, 1_280), (0.3, 3_840), (0.001, 12)] {
            let budget = by_share(share);
            let mut granted = race(&budget, 64, 200, |call| call % 3 > 0);
            let late = budget.account();
            while let Ok(credit) = late.withdraw() {
                credit.spend();
                granted += 1;
            }
            assert_eq!((granted, budget.snapshot().spent), (expected, expected), "{share}");
        }
    }

    #[test]
    fn case_38_what_64_threads_do_not_spend_is_all_there_afterwards() {
        let budget = by_share(0.1);
        assert_eq!(race(&budget, 64, 200, |_| false), 0);
        assert_balance(&budget, 1_280.0);
        assert_eq!(budget.snapshot().spent, 0);
    }

    #[test]
    fn what_succeeded_is_not_lost_with_the_layer() {
        let budget = by_share(0.5);
        for _ in 0..10 {
            budget.account().succeeded();
        }
        assert_balance(&budget, 5.0);
    }
}
