//! The account of one layer with a budget: it counts successes without a lock, and withdraws.

use std::sync::Arc;

use super::{
    handle::RetryBudget,
    state::{RejectedBy, Source},
};
use crate::rt::sync::{AtomicU64, Ordering, OwnLine, stripe_count, thread_number};

/// A layer's account with a budget.
///
/// A success, which is nearly every attempt, is one addition to a counter of the thread's own. A withdrawal or the record
/// of a failure reads the counters.
#[derive(Debug)]
pub(crate) struct Account {
    budget: RetryBudget,
    succeeded: Arc<[Stripe]>,
}

/// The successes counted on some of the threads.
pub(super) type Stripe = OwnLine<AtomicU64>;

impl Account {
    pub(super) fn open(budget: RetryBudget) -> Self {
        let succeeded = (0..stripe_count()).map(|_| Stripe::default()).collect();
        if budget.records {
            budget.register(&succeeded);
        }
        Self { budget, succeeded }
    }

    /// An attempt has succeeded. Returns the earlier successes on this thread, or on one that shares its counter.
    #[inline]
    pub(crate) fn succeeded(&self) -> u64 {
        if self.budget.records {
            self.budget.deposit();
        }
        // The number of stripes is a power of two. Relaxed: the sum of all stripes is all that anything depends on.
        self.succeeded[thread_number() & (self.succeeded.len() - 1)].0.fetch_add(1, Ordering::Relaxed)
    }

    /// The successes that [`succeeded`](Self::succeeded) was told of.
    pub(crate) fn successes(&self) -> u64 {
        total(&self.succeeded)
    }

    /// An attempt that was sent has ended, other than by [`succeeded`](Self::succeeded). `unhealthy` is its vote on the
    /// backend's health; an attempt that was dropped has none.
    pub(crate) fn record(&self, unhealthy: Option<bool>) {
        if self.budget.records {
            self.budget.record(unhealthy);
        }
    }

    /// Asks for one more attempt.
    pub(crate) fn withdraw(&self) -> Result<Withdrawal, RejectedBy> {
        let source = self.budget.withdraw()?;
        Ok(Withdrawal { budget: self.budget.clone(), source: Some(source) })
    }

    /// The budget, for another layer.
    pub(crate) fn budget(&self) -> RetryBudget {
        self.budget.recording()
    }
}

impl Drop for Account {
    /// The budget outlives the layer, so it reads the last successes now.
    fn drop(&mut self) {
        self.budget.settle();
    }
}

/// The successes of all threads.
pub(super) fn total(stripes: &[Stripe]) -> u64 {
    stripes.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
}

/// One more attempt, granted by a budget. Dropped unspent, it is refunded.
#[derive(Debug)]
#[must_use = "a withdrawal that is dropped is refunded"]
pub(crate) struct Withdrawal {
    budget: RetryBudget,
    source: Option<Source>,
}

impl Withdrawal {
    /// The attempt is sent.
    pub(crate) fn spend(mut self) {
        if let Some(source) = self.source.take() {
            self.budget.spend(source);
        }
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            self.budget.refund(source);
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

    /// The ratio alone, over a window that outlasts the test.
    fn by_ratio(ratio: f64) -> RetryBudget {
        let day = Duration::from_secs(24 * 60 * 60);
        let config = RetryBudgetConfig::new().ratio(ratio).reserve(0).without_health_gate().window(day);
        config.build().expect("valid")
    }

    fn assert_balance(budget: &RetryBudget, expected: f64) {
        let balance = budget.snapshot().balance;
        assert!((balance - expected).abs() < 1e-3, "{balance} is not {expected}");
    }

    /// Every thread makes `calls` calls that succeed. After each it withdraws, and spends or refunds as `spends` says.
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
                        if let Ok(withdrawal) = account.withdraw()
                            && spends(call)
                        {
                            granted.fetch_add(1, SeqCst);
                            withdrawal.spend();
                            account.record(None);
                        }
                    }
                });
            }
        });
        granted.into_inner()
    }

    #[test]
    fn case_38_with_64_threads_exactly_the_ratio_is_granted() {
        for (ratio, expected) in [(0.1, 1_280), (0.3, 3_840), (0.001, 12)] {
            let budget = by_ratio(ratio);
            let mut granted = race(&budget, 64, 200, |call| call % 3 > 0);
            let late = budget.account();
            while let Ok(withdrawal) = late.withdraw() {
                withdrawal.spend();
                late.record(None);
                granted += 1;
            }
            assert_eq!((granted, budget.snapshot().spent), (expected, expected), "{ratio}");
        }
    }

    #[test]
    fn case_38_64_threads_get_all_refunds_back() {
        let budget = by_ratio(0.1);
        assert_eq!(race(&budget, 64, 200, |_| false), 0);
        assert_balance(&budget, 1_280.0);
        assert_eq!(budget.snapshot().spent, 0);
    }

    #[test]
    fn successes_outlive_the_layer_that_counted_them() {
        let budget = by_ratio(0.5);
        for _ in 0..10 {
            budget.account().succeeded();
        }
        assert_balance(&budget, 5.0);
    }
}
