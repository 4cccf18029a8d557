//! Retries, none of which has anything to try again.

use std::{sync::Arc, time::Duration};

use seatbelt::{RecoveryInfo, ResilienceContext, retry::Retry as SeatbeltRetry};
use tokio::time::Sleep;
use tower::{
    Layer,
    retry::{
        Policy, Retry,
        backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff},
        budget::{Budget, TpsBudget},
    },
    util::rng::HasherRng,
};
use tower_reliability::retry::RetryConfig;
use tower_resilience::retry::{RetryBudgetBuilder, RetryLayer};

use crate::{
    backend::{Backend, Down, OurError},
    row::Table,
};

/// Ours and tower-resilience's with their budgets, tower's with its budget and its backoff, and seatbelt's, which has
/// no budget.
pub fn add<const PENDING: bool>(table: &mut Table<PENDING>) {
    let ours = RetryConfig::new().build().expect("the defaults are in range");
    let context = ResilienceContext::<u64, Result<u64, Down>>::new(tick::Clock::new_tokio());
    let seatbelt = SeatbeltRetry::layer("retry", &context)
        .clone_input()
        .recovery_with(|result: &Result<u64, Down>, _| match result {
            Ok(_) => RecoveryInfo::never(),
            Err(_) => RecoveryInfo::retry(),
        })
        .max_retry_attempts(2);
    let bare = Backend::<Down, PENDING>::new();
    table.row("ours, retry", ours.layer(Backend::<OurError, PENDING>::new()));
    table.row("tower, retry", Retry::new(attempts(), bare));
    table.row("seatbelt, retry", seatbelt.layer(bare));
    table.row("tower-resilience, retry", tower_resilience().layer(bare));
}

/// tower-resilience's with its budget and its backoff.
#[must_use]
pub fn tower_resilience<E>() -> RetryLayer<u64, u64, E> {
    let budget = RetryBudgetBuilder::new().token_bucket().build().expect("the defaults are in range");
    RetryLayer::exponential_backoff().budget(budget).build()
}

/// The policy of tower's, with its budget and its backoff.
#[must_use]
pub fn attempts() -> Attempts {
    let mut backoff = ExponentialBackoffMaker::new(
        Duration::from_millis(50),
        Duration::from_secs(20),
        0.99,
        HasherRng::default(),
    )
    .expect("the delays are in range");
    Attempts { left: 2, budget: Arc::default(), backoff: backoff.make_backoff() }
}

/// Three attempts, if the budget allows.
#[derive(Clone, Debug)]
pub struct Attempts {
    left: u32,
    budget: Arc<TpsBudget>,
    backoff: ExponentialBackoff,
}

impl<E> Policy<u64, u64, E> for Attempts {
    type Future = Sleep;

    fn retry(&mut self, _: &mut u64, result: &mut Result<u64, E>) -> Option<Sleep> {
        match result {
            Ok(_) => {
                self.budget.deposit();
                None
            }
            Err(_) if self.left > 0 && self.budget.withdraw() => {
                self.left -= 1;
                Some(self.backoff.next_backoff())
            }
            Err(_) => None,
        }
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}
