//! Hedges around the bare service, which answers before any of them is due.

use std::time::Duration;

use tower::{
    Layer,
    hedge::{Hedge, Policy},
};
use tower_reliability::hedge::{self, HedgeConfig};

use crate::{
    drive::Contender,
    inner::{Bare, Down, OurError},
};

/// Ours, and tower's; both would send a hedge after the p95.
#[must_use]
pub fn ready() -> Vec<Contender> {
    vec![Contender::new("ours, hedge", ours()), Contender::new("tower, hedge", towers())]
}

/// Ours, with its own budget.
#[must_use]
pub fn ours() -> hedge::Hedge<Bare<OurError>> {
    HedgeConfig::quantile(SHARE.into()).build().expect("the share is in range").layer(Bare::new())
}

/// tower's, which has seen enough from the first call on.
#[must_use]
pub fn towers() -> Hedge<Bare<Down>, Always> {
    Hedge::new(Bare::new(), Always, 0, SHARE, Duration::from_secs(10))
}

/// Every request may be sent twice.
#[derive(Clone, Copy, Debug)]
pub struct Always;

impl Policy<u64> for Always {
    fn clone_request(&self, request: &u64) -> Option<u64> {
        Some(*request)
    }

    fn can_retry(&self, _: &u64) -> bool {
        true
    }
}

const SHARE: f32 = 0.95;
