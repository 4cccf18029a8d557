//! Timeouts around the bare service. Their timers are those of the runtime that one has entered.

use std::time::Duration;

use seatbelt::{ResilienceContext, timeout::Timeout as SeatbeltTimeout};
use tower::{BoxError, Layer, timeout::Timeout};
use tower_reliability::timeout::TimeoutConfig;

use crate::{
    drive::Contender,
    inner::{Bare, Down, OurError},
};

/// Ours and others', with the same limit.
#[must_use]
pub fn ready() -> Vec<Contender> {
    let ours = TimeoutConfig::new(LIMIT).build().expect("the limit is above 0");
    let context = ResilienceContext::<u64, Result<u64, Down>>::new(tick::Clock::new_tokio());
    let seatbelt = SeatbeltTimeout::layer("timeout", &context)
        .timeout(LIMIT)
        .timeout_error(|_| Down)
        .layer(Bare::<Down>::new());
    vec![
        Contender::new("ours, timeout", ours.layer(Bare::<OurError>::new())),
        Contender::new("tower, timeout", Timeout::new(Bare::<BoxError>::new(), LIMIT)),
        Contender::new("seatbelt, timeout", seatbelt),
    ]
}

const LIMIT: Duration = Duration::from_secs(30);
