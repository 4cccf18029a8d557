//! The two tables: which rows they have, in which order.

use std::convert::Infallible;

use tokio::time::Instant;
use tower::service_fn;

use crate::{
    axum_router,
    backend::{Backend, Bare, Down, OurError},
    balancers, breakers, fallbacks, hedges, http_layers, keyed, limits, rate_limits, retries,
    row::Table,
    stacks, timeouts,
};

/// Calls that are pending once, each on a clone: the way servers and clients make them.
#[must_use]
pub fn pending() -> Table<true> {
    let mut table = Table::new();
    add(&mut table);
    stacks::add_clones(&mut table);
    http_layers::add(&mut table);
    axum_router::add(&mut table);
    rate_limits::add_in_a_stack(&mut table);
    table
}

/// Calls that are ready at once, on one service.
#[must_use]
pub fn ready() -> Table<false> {
    let mut table = Table::new();
    add(&mut table);
    table.row("bare, our error type", Bare::<OurError>::new());
    breakers::add_forms(&mut table);
    breakers::add_open(&mut table);
    breakers::add_half_way(&mut table);
    hedges::add_towers(&mut table);
    stacks::add_three(&mut table);
    let clock = service_fn(|_| std::future::ready(Ok::<_, Infallible>(Instant::now())));
    table.row("tokio's `Instant::now()`", clock);
    axum_router::add(&mut table);
    rate_limits::add_in_a_stack(&mut table);
    table
}

/// The rows that both tables have.
fn add<const PENDING: bool>(table: &mut Table<PENDING>) {
    table.floor("bare", Backend::<Down, PENDING>::new());
    stacks::add(table);
    timeouts::add(table);
    retries::add(table);
    breakers::add(table);
    keyed::add(table);
    limits::add(table);
    hedges::add(table);
    fallbacks::add(table);
    rate_limits::add(table);
    balancers::add(table);
}
