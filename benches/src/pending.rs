//! Calls that are pending once, each on a clone of the service: the way servers and clients make them.

use std::time::Duration;

use recloser::AsyncRecloser;
use tower::{BoxError, Layer, Service, ServiceExt, retry::Retry, timeout::Timeout};
use tower_reliability::{ReliabilityStack, hedge::HedgeConfig, retry::RetryConfig, timeout::TimeoutConfig};

use crate::{
    breakers::{count, time},
    inner::{Down, Later, OurError},
    other_crates::{self, Waiting},
    retries,
    threads::Crowd,
};

/// Each layer alone, and four of them, beside the same from other crates.
#[must_use]
pub fn rows() -> Vec<Crowd> {
    let inner = Later::<OurError>::new();
    let valid = "the numbers of a bench are in range";
    let timeout = TimeoutConfig::new(WHOLE).build().expect(valid);
    let retry = RetryConfig::new().build().expect(valid);
    let hedge = HedgeConfig::quantile(QUANTILE.into()).build().expect(valid);
    let recloser = AsyncRecloser::from(other_crates::recloser());
    let failsafe = other_crates::failsafe_rate(Duration::from_secs(10));
    vec![
        Crowd::clones("bare", Later::<Down>::new()),
        Crowd::clones("ours, stack of four", four()),
        Crowd::clones("assembly of four", assembly()),
        Crowd::clones("ours, timeout", timeout.layer(inner)),
        Crowd::clones("tower, timeout", Timeout::new(Later::<BoxError>::new(), WHOLE)),
        Crowd::clones("ours, retry", retry.layer(inner)),
        Crowd::clones("tower, retry", Retry::new(retries::attempts(), Later::<Down>::new())),
        Crowd::clones("ours, breaker, count 100", count().build().expect(valid).layer(inner)),
        Crowd::clones("recloser async, count 100", Waiting::new(recloser, Later::<Down>::new())),
        Crowd::clones("ours, breaker, time 10 s", time().build().expect(valid).layer(inner)),
        Crowd::clones("failsafe async, rate 10 s", Waiting::new(failsafe, Later::<Down>::new())),
        Crowd::clones("ours, hedge", hedge.layer(inner)),
    ]
}

/// Timeout, retry, breaker and attempt timeout of ours.
#[must_use]
pub fn four() -> impl Service<u64, Future: Send> + Clone + Send + 'static {
    ReliabilityStack::builder()
        .timeout(WHOLE)
        .retry(RetryConfig::new())
        .circuit_breaker(count())
        .attempt_timeout(ATTEMPT)
        .build()
        .expect("the numbers go together")
        .layer(Later::<Down>::new())
}

/// The same four from tower and recloser.
#[must_use]
pub fn assembly() -> impl Service<u64> + Clone + Send + 'static {
    let attempt = Timeout::new(Later::<BoxError>::new(), ATTEMPT);
    let breaker = Waiting::new(AsyncRecloser::from(other_crates::recloser()), attempt);
    let boxed: fn(_) -> BoxError = |error| match error {
        recloser::Error::Inner(error) => error,
        recloser::Error::Rejected => "rejected".into(),
    };
    Timeout::new(Retry::new(retries::attempts(), breaker.map_err(boxed)), WHOLE)
}

const WHOLE: Duration = Duration::from_secs(10);
const ATTEMPT: Duration = Duration::from_secs(2);
const QUANTILE: f32 = 0.95;
