//! The jobs with tower-resilience 0.13. It has no set-up for the job b, and no circuit per key for the job c.

use std::{error::Error, time::Duration};

use axum::{Router, error_handling::HandleErrorLayer};
use http::StatusCode;
use hyper_util::client::legacy;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_resilience::{
    bulkhead::BulkheadLayer,
    circuitbreaker::{CircuitBreakerError, CircuitBreakerLayer},
    core::{ResilienceError, UnifiedErrors},
    retry::{ExponentialRandomBackoff, RetryLayer},
    timelimiter::TimeLimiterLayer,
};

use super::{Hyper, PriceError, Prices, Request, Response};

/// The error of job a.
pub type Failure = ResilienceError<legacy::Error>;

/// Job a.
///
/// # Errors
///
/// Names a number that is out of its range.
pub fn client(
    hyper: Hyper,
) -> Result<impl Service<Request, Response = Response, Error = Failure> + Clone, Box<dyn Error>> {
    // job a
    let breaker = CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .minimum_number_of_calls(20)
        .failure_classifier(|result: &Result<Response, Failure>| match result {
            Ok(response) => response.status().is_server_error(),
            Err(_) => true,
        })
        .build()?;
    let retry = RetryLayer::<Request, Response, Failure>::builder()
        .max_attempts_fn(|request: &Request| if request.method().is_idempotent() { 3 } else { 1 })
        .backoff(ExponentialRandomBackoff::new(Duration::from_millis(50), 0.5)?)
        .retry_on_response(|response: &Response| response.status().is_server_error())
        .build();
    let limit = |limit| TimeLimiterLayer::builder().timeout_duration(limit).build();
    Ok(ServiceBuilder::new()
        .layer(limit(Duration::from_secs(10)).unified())
        .layer(retry)
        .layer(breaker.unified())
        .layer(limit(Duration::from_secs(2)).unified())
        .service(hyper))
    // end
}

/// Job d. The number of requests that wait has no bound. With `build()`, each call of axum to `layer` would make a limit
/// of its own, and the router would let every request pass.
///
/// # Errors
///
/// Names a number that is out of its range.
pub fn server(app: Router) -> Result<Router, Box<dyn Error>> {
    // job d
    let (limit, _) = BulkheadLayer::builder()
        .max_concurrent_calls(100)
        .max_wait_duration(Duration::from_millis(500))
        .build_with_handle()?;
    let reject = HandleErrorLayer::new(async |_| StatusCode::SERVICE_UNAVAILABLE);
    Ok(app.layer((reject, limit)))
    // end
}

/// Job e.
///
/// # Errors
///
/// Names a number that is out of its range.
pub fn own_error(
    prices: Prices,
) -> Result<impl Service<u32, Response = u32, Error = PriceError> + Clone, Box<dyn Error>> {
    // job e
    let breaker = CircuitBreakerLayer::builder()
        .minimum_number_of_calls(20)
        .failure_classifier(|result: &Result<u32, PriceError>| *result == Err(PriceError::Down))
        .build()?;
    Ok(breaker.layer(prices).map_err(|error| match error {
        CircuitBreakerError::OpenCircuit => PriceError::CircuitOpen,
        CircuitBreakerError::Inner(error) => error,
    }))
    // end
}
