//! Hedges. The backend answers before any of them is due.

use std::time::Duration;

use tower::{
    Layer,
    hedge::{Hedge, Policy},
};
use tower_reliability::hedge::HedgeConfig;
use tower_resilience::hedge::HedgeLayer;

use crate::{
    backend::{Backend, Bare, Down, OurError},
    row::Table,
};

/// Ours and tower-resilience's.
pub fn add<const PENDING: bool>(table: &mut Table<PENDING>) {
    let ours = HedgeConfig::quantile(SHARE.into()).build().expect("the share is in range");
    // Its delay is fixed.
    let resilience = HedgeLayer::builder().delay(WHOLE).max_hedged_attempts(2).build();
    table.row("ours, hedge", ours.layer(Backend::<OurError, PENDING>::new()));
    table.row("tower-resilience, hedge", resilience.layer(Backend::<Down, PENDING>::new()));
}

/// tower's, which has seen enough from the first call on. It cannot be cloned.
pub fn add_towers(table: &mut Table<false>) {
    table.unshared("tower, hedge", Hedge::new(Bare::<Down>::new(), Always, 0, SHARE, WHOLE));
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
const WHOLE: Duration = Duration::from_secs(10);
