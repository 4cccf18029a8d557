//! Breakers of other crates, each as a tower service.

use std::{
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use failsafe::{FailurePolicy, StateMachine, failure_policy};
use recloser::{AnyError, AsyncRecloser, Recloser, RecloserFuture};
use seatbelt::{RecoveryInfo, ResilienceContext, breaker::Breaker};
use tower::{Layer, Service};
use tower_resilience::circuitbreaker::{
    CircuitBreaker, CircuitBreakerConfigBuilder, CircuitBreakerLayer, DefaultClassifier, SlidingWindowType,
};

use crate::{
    backend::{Bare, Down},
    breakers::{DAY, VALID},
    drive::drive,
};

/// A breaker that takes a closure, which is its cheapest form: no future to hand on, no reference to count.
#[derive(Clone, Debug)]
pub struct Blocking<B>(pub B);

/// A breaker that takes a future, as an async program uses it, around a service.
#[derive(Clone, Debug)]
pub struct Waiting<B, S = Bare<Down>> {
    breaker: B,
    inner: S,
}

impl<B, S> Waiting<B, S> {
    /// Puts a breaker around a service.
    pub const fn new(breaker: B, inner: S) -> Self {
        Self { breaker, inner }
    }
}

/// tower-resilience's breaker.
pub type TowerResilience<S> = CircuitBreaker<S, DefaultClassifier>;

/// recloser over the last 100 calls.
#[must_use]
pub fn recloser() -> Recloser {
    Recloser::custom().error_rate(0.5).closed_len(100).open_wait(DAY).build()
}

/// failsafe over a row of five failures.
#[must_use]
pub fn failsafe_consecutive() -> StateMachine<impl FailurePolicy + Send + Sync + 'static, ()> {
    let policy = failure_policy::consecutive_failures(5, failsafe::backoff::constant(DAY));
    failsafe::Config::new().failure_policy(policy).build()
}

/// failsafe over the success rate of `window`, which must have passed once before it trips.
#[must_use]
pub fn failsafe_rate(window: Duration) -> StateMachine<impl FailurePolicy + Send + Sync + 'static, ()> {
    let backoff = failsafe::backoff::constant(DAY);
    let policy = failure_policy::success_rate_over_time_window(0.5, 20, window, backoff);
    failsafe::Config::new().failure_policy(policy).build()
}

/// seatbelt over the last 10 s. It is made inside a tokio runtime, whose clock it takes.
#[must_use]
pub fn seatbelt<S>(inner: S) -> Breaker<u64, Result<u64, Down>, S> {
    let context = ResilienceContext::new(tick::Clock::new_tokio());
    Breaker::layer("breaker", &context)
        .recovery_with(|result: &Result<u64, Down>, _| match result {
            Ok(_) => RecoveryInfo::never(),
            Err(_) => RecoveryInfo::retry(),
        })
        .rejected_input_error(|_, _| Down)
        .failure_threshold(0.5)
        .min_throughput(20)
        .sampling_duration(Duration::from_secs(10))
        .break_duration(DAY)
        .layer(inner)
}

/// tower-resilience over the last 100 calls.
#[must_use]
pub fn tower_resilience_count<S>(inner: S) -> TowerResilience<S> {
    let config =
        tower_resilience().sliding_window_type(SlidingWindowType::CountBased).sliding_window_size(100);
    config.build().expect(VALID).layer(inner)
}

/// tower-resilience over the last `window`.
#[must_use]
pub fn tower_resilience_time<S>(window: Duration, inner: S) -> TowerResilience<S> {
    let config =
        tower_resilience().sliding_window_type(SlidingWindowType::TimeBased).sliding_window_duration(window);
    config.build().expect(VALID).layer(inner)
}

/// tower-resilience with the numbers that all rows share.
#[must_use]
pub fn tower_resilience() -> CircuitBreakerConfigBuilder<DefaultClassifier> {
    CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .minimum_number_of_calls(20)
        .wait_duration_in_open(DAY)
}

impl Service<u64> for Blocking<Arc<Recloser>> {
    type Response = u64;
    type Error = recloser::Error<Down>;
    type Future = Ready<Result<u64, Self::Error>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: u64) -> Self::Future {
        ready(self.0.call(|| drive(&mut Bare::<Down>::new(), request)))
    }
}

impl<S: Service<u64>> Service<u64> for Waiting<AsyncRecloser, S> {
    type Response = S::Response;
    type Error = recloser::Error<S::Error>;
    type Future = RecloserFuture<S::Future, AnyError>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(recloser::Error::Inner)
    }

    #[inline]
    fn call(&mut self, request: u64) -> Self::Future {
        self.breaker.call(self.inner.call(request))
    }
}

impl<P: FailurePolicy> Service<u64> for Blocking<StateMachine<P, ()>> {
    type Response = u64;
    type Error = failsafe::Error<Down>;
    type Future = Ready<Result<u64, Self::Error>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: u64) -> Self::Future {
        ready(failsafe::CircuitBreaker::call(&self.0, || drive(&mut Bare::<Down>::new(), request)))
    }
}

impl<P: FailurePolicy + Send + Sync, S: Service<u64>> Service<u64> for Waiting<StateMachine<P, ()>, S> {
    type Response = S::Response;
    type Error = failsafe::Error<S::Error>;
    type Future = failsafe::futures::ResponseFuture<S::Future, P, (), failsafe::Any>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(failsafe::Error::Inner)
    }

    #[inline]
    fn call(&mut self, request: u64) -> Self::Future {
        failsafe::futures::CircuitBreaker::call(&self.breaker, self.inner.call(request))
    }
}
