//! Fallbacks with a value.

use seatbelt::{ResilienceContext, fallback::Fallback as SeatbeltFallback};
use tower::Layer;
use tower_reliability::fallback::FallbackConfig;

use crate::{
    backend::{Backend, Down, Failing, OurError},
    row::Table,
};

/// Ours and seatbelt's: around a backend that succeeds, and around one that fails, so that the value is the answer.
pub fn add<const PENDING: bool>(table: &mut Table<PENDING>) {
    let ours = FallbackConfig::new().on_all_failures().build().expect("the defaults are in range");
    let ours = ours.value(0).layer(Backend::<OurError, PENDING>::new());
    let context = ResilienceContext::<u64, Result<u64, Down>>::new(tick::Clock::new_tokio());
    let seatbelt = SeatbeltFallback::layer("fallback", &context)
        .should_fallback(|result: &Result<u64, Down>| result.is_err())
        .fallback_output(Ok(0))
        .layer(Backend::<Down, PENDING>::new());
    table.row("ours, fallback", ours.clone());
    table.row("seatbelt, fallback", seatbelt.clone());
    table.row("ours, fallback needed", Failing(ours));
    table.row("seatbelt, fallback needed", Failing(seatbelt));
}
