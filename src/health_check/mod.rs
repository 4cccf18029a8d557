//! Active health checks: probes that ask each endpoint at an interval, and thresholds that decide.
//!
//! A [`HealthChecker`] has the numbers. It starts a [`HealthCheck`] per endpoint, which checks until it is dropped. A
//! [`Probe`] is the question: a [`TcpProbe`], `http::HttpProbe`, `grpc::GrpcProbe`, or any closure that returns a future
//! of a `Result`.
//!
//! ```
//! use std::{io, time::Duration};
//! use tower_reliability::{
//!     HealthStatus,
//!     health_check::{HealthCheckConfig, TcpProbe},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let checker = HealthCheckConfig::new().interval(Duration::from_secs(5)).build()?;
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let address = listener.local_addr()?;
//! // let address = SocketAddr::from(([10, 0, 0, 1], 8080));
//! let check = checker.start(address.to_string(), TcpProbe::new(address));
//! let mut status = check.subscribe();
//! status.changed().await?;
//! assert_eq!(*status.borrow(), HealthStatus::Healthy);
//!
//! // A closure asks whatever the endpoint understands.
//! let disk = checker.start("disk", || async {
//!     Err::<(), _>(io::Error::other("the volume is read-only"))
//! });
//! disk.subscribe().wait_for(|status| *status == HealthStatus::Unhealthy).await?;
//! println!("{:?}", disk.snapshot().last_failure);
//! # Ok(()) }
//! ```
//!
//! # Thresholds
//!
//! The status is [`Unknown`](crate::HealthStatus::Unknown) until the first check has ended, and that check decides. Later
//! an endpoint becomes unhealthy after [`fall`](HealthCheckConfig::fall) failed checks in a row, and healthy after
//! [`rise`](HealthCheckConfig::rise) passed ones. An error, a timeout and a panic are failed checks.
//!
//! Checks of one endpoint never overlap. The pause begins when a check has ended. So a dead endpoint is unhealthy after
//! at most `fall × (interval × (1 + jitter) + timeout)`: 39 s with the defaults. A probe that blocks its thread past the
//! timeout is a failed check too, at the latest when it ends. The next check waits until the probe has ended.
//!
//! The first checks of many endpoints spread over time, a millisecond per endpoint, up to an interval.
//!
//! # Defaults
//!
//! | setting | default | range |
//! |---|---|---|
//! | [`interval`](HealthCheckConfig::interval) | 10 s | 1 ms to 1 day |
//! | [`jitter`](HealthCheckConfig::jitter) | 0.1 | 0 to 0.5 |
//! | [`timeout`](HealthCheckConfig::timeout) | 2 s | 1 ms to 1 day |
//! | [`rise`](HealthCheckConfig::rise) | 2 | at least 1 |
//! | [`fall`](HealthCheckConfig::fall) | 3 | at least 1 |
//!
//! # Telemetry
//!
//! | event | severity | when |
//! |---|---|---|
//! | [`HealthChanged`](crate::EventKind::HealthChanged) | warning if the endpoint becomes unhealthy, or info | the status changes |
//! | [`Reconfigured`](crate::EventKind::Reconfigured) | info | [`HealthChecker::update`] |
//!
//! The name in an event is that of the checker and of the endpoint, such as `health_check:10.0.0.1:8080`. A check that
//! changes no status emits no event, and [`HealthSnapshot`] counts it.
//!
//! # Runtime
//!
//! A running check needs a tokio runtime with time enabled, and a [`TcpProbe`] one with I/O. Each endpoint has one task,
//! and one more while a check runs. Dropping the [`HealthCheck`] aborts both.

mod check;
mod checker;
mod config;
mod probe;
mod snapshot;
mod state;

pub use check::HealthCheck;
pub use checker::HealthChecker;
pub use config::HealthCheckConfig;
pub use probe::{Probe, TcpProbe};
pub use snapshot::HealthSnapshot;
