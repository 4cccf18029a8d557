//! The numbers of the demo: the failures of the upstreams, and the settings of the protections.

use std::{net::SocketAddr, time::Duration};

use tokio::time::Instant;
use tower_reliability::{
    circuit_breaker::{CircuitBreakerConfig, Window},
    timeout::TimeoutConfig,
};

use crate::{config::UpstreamConfig, origin::Origin};

/// Requests per second to each upstream through each gateway, 300 in total.
pub(crate) const RATE: u32 = 50;
/// The patience of a client. With the rate, it bounds the requests in flight: 300.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// One of the two gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Protected,
    Unprotected,
}

/// One of the three upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Answers at once.
    Healthy,
    /// Fails now and then, and is slow now and then.
    Flaky,
    /// Slows down, dies, and comes back.
    Fading,
}

/// A phase in the life of the fading upstream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    Healthy,
    /// It takes so long for each answer.
    Slowing(Duration),
    /// It accepts requests and does not answer.
    Silent,
    /// It accepts requests and closes the connection.
    HangingUp,
}

/// The beginning and the length of the demo.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeline {
    start: Instant,
    length: Duration,
}

/// The config of an upstream.
pub(crate) fn upstream(side: Side, address: SocketAddr) -> Result<UpstreamConfig, &'static str> {
    let url = Origin::try_from(format!("http://{address}"))?;
    Ok(UpstreamConfig {
        protected: side == Side::Protected,
        timeout: TimeoutConfig::new(Duration::from_millis(600)),
        attempt_timeout: TimeoutConfig::new(Duration::from_millis(250)),
        circuit_breaker: BREAKER,
        ..UpstreamConfig::new(url)
    })
}

/// Faster than in production, because the whole life of the fading upstream takes seconds.
const BREAKER: CircuitBreakerConfig = CircuitBreakerConfig::new()
    .failure_rate(0.5)
    .min_requests(10)
    .window(Window::Calls(20))
    .slow_call(Duration::from_millis(150), 0.5)
    .open_for(Duration::from_millis(500))
    .open_multiplier(1.0)
    .half_open_probes(2)
    .half_open_successes(2)
    .probe_timeout(Duration::from_secs(1));

impl Side {
    pub(crate) const ALL: [Self; 2] = [Self::Protected, Self::Unprotected];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::Unprotected => "unprotected",
        }
    }
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Healthy, Self::Flaky, Self::Fading];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Flaky => "flaky",
            Self::Fading => "fading",
        }
    }
}

impl Timeline {
    pub(crate) fn start(length: Duration) -> Self {
        Self { start: Instant::now(), length }
    }

    pub(crate) const fn began(&self) -> Instant {
        self.start
    }

    pub(crate) const fn length(&self) -> Duration {
        self.length
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The current phase of the fading upstream.
    pub(crate) fn phase(&self) -> Phase {
        phase(self.elapsed().div_duration_f64(self.length))
    }

    /// When the fading upstream dies, and when it is back.
    pub(crate) fn dead(&self) -> (Duration, Duration) {
        (self.length.mul_f64(SILENT_FROM), self.length.mul_f64(BACK_FROM))
    }
}

/// The phase of the fading upstream at this fraction of the demo.
fn phase(progress: f64) -> Phase {
    if !(SLOWING_FROM..BACK_FROM).contains(&progress) {
        Phase::Healthy
    } else if progress < SILENT_FROM {
        Phase::Slowing(SLOWEST.mul_f64((progress - SLOWING_FROM) / (SILENT_FROM - SLOWING_FROM)))
    } else if progress < HANGING_UP_FROM {
        Phase::Silent
    } else {
        Phase::HangingUp
    }
}

const SLOWING_FROM: f64 = 0.2;
const SILENT_FROM: f64 = 0.3;
const HANGING_UP_FROM: f64 = 0.45;
const BACK_FROM: f64 = 0.6;
const SLOWEST: Duration = Duration::from_millis(1_200);
