//! The jobs with seatbelt 0.11. It has no set-up for the job b, and no limit of calls for the job d.

use std::time::Duration;

use seatbelt::{
    RecoveryInfo, ResilienceContext,
    breaker::{Breaker, BreakerId},
    retry::Retry,
    timeout::Timeout,
};
use tick::Clock;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};

use super::{Hyper, PriceError, Prices, Request, Response};

/// Job a.
#[must_use]
pub fn client(hyper: Hyper) -> impl Service<Request, Response = Response, Error = BoxError> + Clone {
    // job a
    let context = ResilienceContext::<Request, Result<Response, BoxError>>::new(Clock::new_tokio());
    let recovery = |result: &Result<Response, BoxError>| match result {
        Ok(response) if !response.status().is_server_error() => RecoveryInfo::never(),
        _ => RecoveryInfo::retry(),
    };
    ServiceBuilder::new()
        .layer(
            Timeout::layer("total_timeout", &context)
                .timeout(Duration::from_secs(10))
                .timeout_error(|_| "no answer within 10 s".into()),
        )
        .layer(
            Retry::layer("retry", &context)
                .clone_input()
                .max_retry_attempts(2)
                .base_delay(Duration::from_millis(50))
                .recovery_with(move |result, _| recovery(result))
                .enable_if(|request: &Request| request.method().is_idempotent()),
        )
        .layer(
            Breaker::layer("breaker", &context)
                .failure_threshold(0.5)
                .min_throughput(20)
                .recovery_with(move |result, _| recovery(result))
                .rejected_input_error(|_, _| "the circuit is open".into()),
        )
        .layer(
            Timeout::layer("attempt_timeout", &context)
                .timeout(Duration::from_secs(2))
                .timeout_error(|_| "no answer within 2 s".into()),
        )
        .map_err(BoxError::from)
        .service(hyper)
    // end
}

/// Job c.
#[must_use]
pub fn per_host(hyper: Hyper) -> impl Service<Request, Response = Response, Error = BoxError> + Clone {
    // job c
    let context = ResilienceContext::<Request, Result<Response, BoxError>>::new(Clock::new_tokio());
    let breaker = Breaker::layer("breaker", &context)
        .recovery_with(|result, _| match result {
            Ok(response) if !response.status().is_server_error() => RecoveryInfo::never(),
            _ => RecoveryInfo::retry(),
        })
        .rejected_input_error(|_, _| "the circuit is open".into())
        .breaker_id(|request: &Request| BreakerId::hashed(&request.uri().authority(), "authority"));
    breaker.layer(hyper.map_err(BoxError::from))
    // end
}

/// Job e.
#[must_use]
pub fn own_error(prices: Prices) -> impl Service<u32, Response = u32, Error = PriceError> + Clone {
    // job e
    let context = ResilienceContext::<u32, Result<u32, PriceError>>::new(Clock::new_tokio());
    let breaker = Breaker::layer("breaker", &context)
        .recovery_with(|result, _| match result {
            Err(PriceError::Down) => RecoveryInfo::retry(),
            _ => RecoveryInfo::never(),
        })
        .rejected_input_error(|_, _| PriceError::CircuitOpen)
        .failure_threshold(0.5)
        .min_throughput(20);
    breaker.layer(prices)
    // end
}
