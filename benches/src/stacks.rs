//! The whole stack around the bare service, and the same layers by hand.

use std::time::Duration;

use tower::{Layer, ServiceBuilder};
use tower_reliability::{ReliabilityStack, hedge::HedgeConfig, retry::RetryConfig, timeout::TimeoutConfig};

use crate::{
    breakers,
    drive::Contender,
    inner::{Bare, Down, OurError},
};

/// Timeout, breaker and attempt timeout, closed; and the same with a retry and a hedge, neither of which is needed.
#[must_use]
pub fn ready() -> Vec<Contender> {
    let stack = ReliabilityStack::builder()
        .timeout(WHOLE)
        .circuit_breaker(breakers::time())
        .attempt_timeout(ATTEMPT)
        .build()
        .expect("the numbers go together");
    let five = ReliabilityStack::builder()
        .timeout(WHOLE)
        .retry(RetryConfig::new())
        .hedge(HedgeConfig::new())
        .circuit_breaker(breakers::time())
        .attempt_timeout(ATTEMPT)
        .build()
        .expect("the numbers go together");
    let limit = |limit| TimeoutConfig::new(limit).build().expect("the limit is above 0");
    let by_hand = ServiceBuilder::new()
        .layer(limit(WHOLE))
        .layer(breakers::time().build().expect("the numbers of a bench are in range"))
        .layer(limit(ATTEMPT))
        .service(Bare::<OurError>::new());
    vec![
        Contender::new("ours, stack of three", stack.layer(Bare::<Down>::new())),
        Contender::new("ours, three layers by hand", by_hand),
        Contender::new("ours, stack of five", five.layer(Bare::<Down>::new())),
    ]
}

const WHOLE: Duration = Duration::from_secs(10);
const ATTEMPT: Duration = Duration::from_secs(2);
