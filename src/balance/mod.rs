//! One service over many endpoints: it picks an endpoint for each call, and avoids those that are slow, fail or are not
//! ready.
//!
//! ```
//! use tower::{ServiceExt, service_fn};
//! use tower_reliability::{BoxError, BoxErrorClassifier, balance::BalanceConfig};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! // A client of one address. A real one holds a connection.
//! let client = |address: &&'static str| {
//!     let address = *address;
//!     service_fn(move |n: u32| async move { Ok::<_, BoxError>(format!("{n} from {address}")) })
//! };
//! let balance = BalanceConfig::new()
//!     .build()?
//!     .classify(BoxErrorClassifier)
//!     .endpoints(["10.0.0.1:80", "10.0.0.2:80"], client);
//! let handle = balance.handle();
//! assert!(balance.clone().oneshot(7).await?.starts_with("7 from 10.0.0."));
//!
//! // While calls go on:
//! drop(handle.insert("10.0.0.3:80", client(&"10.0.0.3:80")));
//! handle.remove(&"10.0.0.1:80").drained().await;
//! assert_eq!(handle.snapshot().endpoints.len(), 2);
//! # Ok(()) }
//! ```
//!
//! # How an endpoint is picked
//!
//! 1. The [strategy](BuiltIn) picks one of the healthy endpoints. In a [panic](BalanceConfig::panic_threshold), it picks
//!    one of all.
//! 2. The balancer asks for another pick if the endpoint should not get the call: the call has [tried](crate::RouteSource)
//!    it, it was not ready within the last second, its `Retry-After` is not over, or it
//!    [starts slowly](BalanceConfig::slow_start). If no endpoint is better, the call goes there nevertheless.
//! 3. The balancer clones the service of the endpoint and asks whether it is ready. If it is not, another endpoint is
//!    asked, up to [`max_tries`](BalanceConfig::max_tries). A call that finds none ready waits for the first of them.
//!
//! A pick takes no lock and allocates nothing. A call that does not find a ready endpoint at once allocates.
//!
//! An endpoint is a whole service, and may have layers of its own. A circuit breaker that
//! [waits while it is open](crate::circuit_breaker::CircuitBreakerLayer::wait_while_open) is not ready, so the balancer
//! skips it. A limit with a queue in `poll_ready` is skipped in the same way.
//!
//! # Votes
//!
//! | outcome | latency for [`PeakEwma`](BuiltIn::PeakEwma) | health |
//! |---|---|---|
//! | success, [`Validation`](crate::ErrorClass::Validation), [`Authentication`](crate::ErrorClass::Authentication) | of the call | success |
//! | [`RateLimit`](crate::ErrorClass::RateLimit) | [`failure_penalty`](BalanceConfig::failure_penalty) or the hint, if that is longer | failure, but not one in a row |
//! | [`Timeout`](crate::ErrorClass::Timeout) | of the call | failure |
//! | other failures | [`failure_penalty`](BalanceConfig::failure_penalty) | failure |
//! | a call that its caller cut | at least the time so far | – |
//! | [`EndpointUnavailable`](crate::Outcome::EndpointUnavailable) | – | –; calls avoid the endpoint for a second |
//!
//! The health decides about [ejections](OutlierConfig): of an endpoint that fails several calls in a row, and of one that
//! is worse than all others together. The machine compares endpoints when a call comes and an interval is over, so an idle
//! balancer does nothing.
//!
//! # Active checks
//!
//! [`BalanceHandle::check`] asks each endpoint at an interval whether it is healthy, by a closure of yours: an HTTP
//! request, the health service of gRPC, or a connection.
//!
//! ```
//! use tower::{ServiceExt, service_fn};
//! use tower_reliability::{
//!     BoxError,
//!     balance::{BalanceConfig, HealthCheckConfig},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let client = |_: &&str| service_fn(|path: String| async move { Ok::<_, BoxError>(path) });
//! let builder = BalanceConfig::new().build()?.classify(tower_reliability::BoxErrorClassifier);
//! let balance = builder.endpoints(["10.0.0.1:80", "10.0.0.2:80"], client);
//! let checks = balance.handle().check(HealthCheckConfig::new(), |_, service| {
//!     let answer = service.clone().oneshot("/health".to_owned());
//!     async { answer.await.is_ok() }
//! })?;
//! // The checks end when `checks` is dropped.
//! # drop(checks);
//! # Ok(()) }
//! ```
//!
//! # Retries
//!
//! A retry or a hedge outside of the balancer leaves the [history](crate::CallHistory) of the call in the request, and
//! [`route`](BalanceBuilder::route) reads it: `http::RequestExtensions` for HTTP. The next attempt then goes to another
//! endpoint, at once if the first one has asked for a pause.
//!
//! # Defaults
//!
//! | setting | default | range |
//! |---|---|---|
//! | [`strategy`](BalanceConfig::strategy) | [`PeakEwma`](BuiltIn::PeakEwma) | |
//! | [`decay`](BalanceConfig::decay) | 10 s | 1 ms to 1 day |
//! | [`failure_penalty`](BalanceConfig::failure_penalty) | 5 s | up to 1 h |
//! | [`max_retry_after`](BalanceConfig::max_retry_after) | 60 s | up to 1 day |
//! | [`slow_start`](BalanceConfig::slow_start) | 10 s | up to 1 day; 0 is off |
//! | [`slow_start_aggression`](BalanceConfig::slow_start_aggression) | 1 | 0.1 to 10 |
//! | [`panic_threshold`](BalanceConfig::panic_threshold) | 0.5 | 0 to 1 |
//! | [`max_tries`](BalanceConfig::max_tries) | 5 | at least 1 |
//! | outliers: [`consecutive_failures`](OutlierConfig::consecutive_failures) | 5 | 0 is off |
//! | [`success_gap`](OutlierConfig::success_gap) | 0.05 | 0 to 1; 0 is off |
//! | [`latency_ratio`](OutlierConfig::latency_ratio) | 3 | 0, or 1 to 1 000 000; 0 is off |
//! | [`interval`](OutlierConfig::interval) | 10 s | 100 ms to 1 day |
//! | [`eject_for`](OutlierConfig::eject_for), [`max_eject_for`](OutlierConfig::max_eject_for) | 30 s, 300 s | 1 ms to 1 day |
//! | [`max_ejected`](OutlierConfig::max_ejected) | 0.5 | 0 to 1 |
//! | checks: [`interval`](HealthCheckConfig::interval), [`jitter`](HealthCheckConfig::jitter) | 5 s, 0.1 | 10 ms to 1 day, 0 to 1 |
//! | [`timeout`](HealthCheckConfig::timeout) | 1 s | 1 ms to 1 day |
//! | [`rise`](HealthCheckConfig::rise), [`fall`](HealthCheckConfig::fall) | 2, 3 | at least 1 |
//! | [`classify`](BalanceBuilder::classify) | [`StandardClassifier`](crate::StandardClassifier) | |
//! | [`route`](BalanceBuilder::route) | [`NoRoute`](crate::NoRoute) | |
//!
//! # Telemetry
//!
//! | event | severity | when |
//! |---|---|---|
//! | [`EndpointEjected`](crate::EventKind::EndpointEjected) | warning | an endpoint is ejected; the name is `balance:key` |
//! | [`EndpointReturned`](crate::EventKind::EndpointReturned) | info | its ejection is over |
//! | [`EndpointChecked`](crate::EventKind::EndpointChecked) | warning, or info if it is up | active checks found it down, or up again |
//! | [`BalancePanicChanged`](crate::EventKind::BalancePanicChanged) | error, or info at its end | too few endpoints are healthy |
//! | [`Reconfigured`](crate::EventKind::Reconfigured) | info | [`BalanceHandle::update`] |
//!
//! # Errors
//!
//! A call without an endpoint is rejected with [`NoEndpoint`](crate::Reason::NoEndpoint), and without a healthy one with
//! [`NoHealthyEndpoint`](crate::Reason::NoHealthyEndpoint) if the panic threshold is 0.
//!
//! # Runtime
//!
//! The balancer needs no runtime, starts no task and sets no timer. Active checks need a tokio runtime with time enabled,
//! and run in tasks until their [`HealthChecks`] is dropped.

mod asked;
mod builder;
mod call_guard;
mod check;
#[cfg(all(test, shuttle))]
mod concurrency;
mod config;
mod core;
#[cfg(feature = "tower")]
mod discover;
pub mod future;
mod handle;
mod load;
mod pick;
mod random;
mod service;
mod set;
mod shared;
mod snapshot;
mod state;
mod strategy;
mod vote;

pub use builder::BalanceBuilder;
pub use check::{HealthCheckConfig, HealthChecks};
pub use config::{BalanceConfig, BuiltIn, OutlierConfig};
pub use handle::{BalanceHandle, Removed};
pub use load::EndpointLoad;
pub use service::Balance;
pub use shared::EndpointKey;
pub use snapshot::{BalanceSnapshot, EndpointSnapshot};
pub use strategy::{Choice, Picker, Strategy};
