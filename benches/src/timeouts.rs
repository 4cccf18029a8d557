//! Timeouts. Their timers are those of the runtime that one has entered.

use std::time::Duration;

use seatbelt::{ResilienceContext, timeout::Timeout as SeatbeltTimeout};
use tower::{BoxError, Layer, timeout::Timeout};
use tower_reliability::timeout::TimeoutConfig;
use tower_resilience::timelimiter::TimeLimiterLayer;

use crate::{
    backend::{Backend, Down, OurError},
    row::Table,
};

/// Ours and others', with the same limit.
pub fn add<const PENDING: bool>(table: &mut Table<PENDING>) {
    let ours = TimeoutConfig::new(LIMIT).build().expect("the limit is above 0");
    let context = ResilienceContext::<u64, Result<u64, Down>>::new(tick::Clock::new_tokio());
    let seatbelt = SeatbeltTimeout::layer("timeout", &context).timeout(LIMIT).timeout_error(|_| Down);
    let limiter = TimeLimiterLayer::builder().timeout_duration(LIMIT).build();
    let bare = Backend::<Down, PENDING>::new();
    table.row("ours, timeout", ours.layer(Backend::<OurError, PENDING>::new()));
    table.row("tower, timeout", Timeout::new(Backend::<BoxError, PENDING>::new(), LIMIT));
    table.row("seatbelt, timeout", seatbelt.layer(bare));
    table.row("tower-resilience, time limiter", limiter.layer(bare));
}

const LIMIT: Duration = Duration::from_secs(30);
