//! Stacks of ours, and the same layers from other crates.

use std::time::Duration;

use recloser::AsyncRecloser;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, retry::Retry, timeout::Timeout};
use tower_reliability::{
    ReliabilityStack,
    hedge::HedgeConfig,
    retry::RetryConfig,
    stack::{Client, WrappedErrors},
    timeout::TimeoutConfig,
};
use tower_resilience::timelimiter::TimeLimiterLayer;

use crate::{
    backend::{Backend, Bare, Down, OurError},
    breakers::{VALID, count, time},
    drive::clone_many,
    other_crates::{self, Waiting},
    retries,
    row::Table,
};

/// The stack of four (timeout, retry, breaker, attempt timeout) beside the same from other crates, behind a client, and
/// with stages that are decided while the program runs. The stack of five also has a hedge.
pub fn add<const PENDING: bool>(table: &mut Table<PENDING>) {
    let bare = Backend::<Down, PENDING>::new();
    let (stack, client) = four(bare);
    table.row("ours, stack of four", stack);
    table.row("assembly of four", assembly::<PENDING>());
    table.row("tower-resilience, stack of four", tower_resilience(bare));
    table.row("ours, stack of four, `service`", client);
    let optional = ReliabilityStack::builder()
        .timeout(Some(WHOLE))
        .retry(Some(RetryConfig::new()))
        .hedge(None::<HedgeConfig>)
        .circuit_breaker(Some(count()))
        .attempt_timeout(Some(ATTEMPT));
    table.row("ours, stack of four, `Some` and a `None`", optional.build().expect(VALID).layer(bare));
    let five = ReliabilityStack::builder()
        .timeout(WHOLE)
        .retry(RetryConfig::new())
        .hedge(HedgeConfig::new())
        .circuit_breaker(count())
        .attempt_timeout(ATTEMPT)
        .build()
        .expect(VALID);
    table.row("ours, stack of five", five.layer(bare));
    table.row("ours, error wrapping alone", WrappedErrors.layer(bare));
}

/// Clones that make no call.
pub fn add_clones(table: &mut Table<true>) {
    let bare = Backend::<Down, true>::new();
    table.driven_floor("bare, clone alone", bare, clone_many);
    table.driven("ours, stack of four, clone alone", four(bare).0, clone_many);
    table.driven("assembly of four, clone alone", assembly::<true>(), clone_many);
}

/// Timeout, breaker and attempt timeout, as a stack and by hand.
pub fn add_three(table: &mut Table<false>) {
    let stack = ReliabilityStack::builder()
        .timeout(WHOLE)
        .circuit_breaker(time())
        .attempt_timeout(ATTEMPT)
        .build()
        .expect(VALID);
    let limit = |limit| TimeoutConfig::new(limit).build().expect(VALID);
    let by_hand = ServiceBuilder::new()
        .layer(limit(WHOLE))
        .layer(time().build().expect(VALID))
        .layer(limit(ATTEMPT))
        .service(Bare::<OurError>::new());
    table.row("ours, stack of three", stack.layer(Bare::<Down>::new()));
    table.row("ours, three layers by hand", by_hand);
}

/// The stack of four around a service, and a client of the two.
fn four<const PENDING: bool>(
    inner: Backend<Down, PENDING>,
) -> (impl Service<u64, Future: Send> + Clone + Send + 'static, Client<u64, u64, OurError>) {
    let stack = ReliabilityStack::builder()
        .timeout(WHOLE)
        .retry(RetryConfig::new())
        .circuit_breaker(count())
        .attempt_timeout(ATTEMPT)
        .build()
        .expect(VALID);
    (stack.layer(inner), stack.service(inner))
}

/// tower's timeouts and its retry with a budget, around recloser.
fn assembly<const PENDING: bool>() -> impl Service<u64> + Clone + Send + 'static {
    let attempt = Timeout::new(Backend::<BoxError, PENDING>::new(), ATTEMPT);
    let breaker = Waiting::new(AsyncRecloser::from(other_crates::recloser()), attempt);
    let boxed: fn(_) -> BoxError = |error| match error {
        recloser::Error::Inner(error) => error,
        recloser::Error::Rejected => "rejected".into(),
    };
    Timeout::new(Retry::new(retries::attempts(), breaker.map_err(boxed)), WHOLE)
}

fn tower_resilience<const PENDING: bool>(
    inner: Backend<Down, PENDING>,
) -> impl Service<u64> + Clone + Send + 'static {
    let limit = |limit| TimeLimiterLayer::builder().timeout_duration(limit).build();
    let breaker = other_crates::tower_resilience_count(limit(ATTEMPT).layer(inner));
    limit(WHOLE).layer(retries::tower_resilience().layer(breaker))
}

const WHOLE: Duration = Duration::from_secs(10);
const ATTEMPT: Duration = Duration::from_secs(2);
