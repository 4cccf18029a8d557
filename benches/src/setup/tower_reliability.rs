//! The jobs with this crate.

use std::time::Duration;

use axum::Router;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::{Layer, Service, util::MapErrLayer};
use tower_reliability::{
    ConfigError, Error, ErrorClass, Outcome, Rejected,
    circuit_breaker::CircuitBreakerConfig,
    concurrency_limit::ConcurrencyLimitConfig,
    http::{self, BoxBody, HttpClient, RejectionLayer, ReplayBody},
    retry::RetryConfig,
    wait_queue::WaitQueueConfig,
};

use super::{PriceError, Prices};

/// The client of the jobs a, b and c. The compiler infers its body, which `HttpClient` records.
pub type Hyper = Client<HttpConnector, ReplayBody<BoxBody>>;

/// Job a.
///
/// # Errors
///
/// Names a number that is out of its range.
pub fn client(hyper: Hyper) -> Result<HttpClient, ConfigError> {
    // job a
    let stack = http::stack()
        .timeout(Duration::from_secs(10))
        .retry(RetryConfig::exponential(Duration::from_millis(50)).max_attempts(3))
        .circuit_breaker(CircuitBreakerConfig::new().failure_rate(0.5))
        .attempt_timeout(Duration::from_secs(2))
        .build()?;
    Ok(stack.client(hyper))
    // end
}

/// Job b, which also does job c.
///
/// # Errors
///
/// None: the numbers are those of the crate.
pub fn standard(hyper: Hyper) -> Result<HttpClient, ConfigError> {
    // job b
    Ok(http::standard().build()?.client(hyper))
    // end
}

/// Job c.
///
/// # Errors
///
/// None: the numbers are those of the crate.
pub fn per_host(hyper: Hyper) -> Result<HttpClient, ConfigError> {
    // job c
    let breaker = CircuitBreakerConfig::new().per_authority();
    Ok(http::stack().circuit_breaker(breaker).build()?.client(hyper))
    // end
}

/// Job d. At most 200 requests wait.
///
/// # Errors
///
/// Names a number that is out of its range.
pub fn server(app: Router) -> Result<Router, ConfigError> {
    // job d
    let queue = WaitQueueConfig::new().capacity(200).max_wait(Duration::from_millis(500));
    let limit = ConcurrencyLimitConfig::new(100).queue(queue).build()?;
    Ok(app.layer((RejectionLayer::new(), limit, MapErrLayer::new(Error::inner))))
    // end
}

// job e
impl From<Rejected> for PriceError {
    fn from(_: Rejected) -> Self {
        Self::CircuitOpen
    }
}
// end

/// Job e.
///
/// # Errors
///
/// Names a number that is out of its range.
pub fn own_error(
    prices: Prices,
) -> Result<impl Service<u32, Response = u32, Error = PriceError> + Clone, ConfigError> {
    // job e
    let layer =
        CircuitBreakerConfig::new().build()?.classify(|result: Result<&u32, &PriceError>| match result {
            Err(PriceError::Down) => Outcome::failure(ErrorClass::Server),
            _ => Outcome::Success,
        });
    Ok(layer.layer(prices))
    // end
}
