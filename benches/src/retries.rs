//! Retries around the bare service, none of which has anything to try again.

use std::{sync::Arc, time::Duration};

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
use tower_reliability::retry::{self, RetryConfig};

use crate::{
    drive::Contender,
    inner::{Bare, Down, OurError},
};

/// Ours, and tower's with its budget and its backoff.
#[must_use]
pub fn ready() -> Vec<Contender> {
    vec![Contender::new("ours, retry", ours()), Contender::new("tower, retry", towers())]
}

/// Ours, with its own budget.
#[must_use]
pub fn ours() -> Ours {
    RetryConfig::new().build().expect("the defaults are in range").layer(Bare::new())
}

/// Ours around the bare service.
pub type Ours = retry::Retry<Bare<OurError>>;

/// tower's, put together as its documentation does.
#[must_use]
pub fn towers() -> Retry<Attempts, Bare<Down>> {
    Retry::new(attempts(), Bare::new())
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
