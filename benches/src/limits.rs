//! Limits on the calls in flight, with free permits.

use tower::{Layer, limit::ConcurrencyLimitLayer};
use tower_reliability::concurrency_limit::{AdaptiveLimitConfig, ConcurrencyLimitConfig};

use tower_resilience::adaptive::{AdaptiveLimiterLayer, Aimd};

use crate::{
    backend::{Backend, Down, OurError},
    row::Table,
};

/// Ours and tower's with the same limit, ours and tower-resilience's that learn, and ours per key.
pub fn add<const PENDING: bool>(table: &mut Table<PENDING>) {
    let ours = ConcurrencyLimitConfig::new(LIMIT).build().expect("the limit is valid");
    let learns = ConcurrencyLimitConfig::new(LIMIT).adaptive(AdaptiveLimitConfig::new());
    let learns = learns.build().expect("the limit is valid");
    let keyed = ours.clone().keyed(|request: &u64| request % 1_000);
    let inner = Backend::<OurError, PENDING>::new();
    table.row("ours, concurrency limit", ours.layer(inner));
    table.row(
        "tower, concurrency limit",
        ConcurrencyLimitLayer::new(LIMIT as usize).layer(Backend::<Down, PENDING>::new()),
    );
    table.row("ours, concurrency limit, adaptive", learns.layer(inner));
    let aimd = Aimd::builder().initial_limit(LIMIT as usize).build().expect("the limit is valid");
    table.row(
        "tower-resilience, AIMD",
        AdaptiveLimiterLayer::new(aimd).layer(Backend::<Down, PENDING>::new()),
    );
    table.row("ours, concurrency limit, keyed, 1 000 keys", keyed.layer(inner));
}

/// More than the bench makes at once.
const LIMIT: u32 = 100;
