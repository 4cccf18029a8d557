//! The numbers of a circuit breaker.

mod check;

use std::time::Duration;

/// When a circuit opens, for how long, and what the backend must show before it closes again.
///
/// The config is plain data: a constant, the content of a file (feature `serde`, durations as `"30s"`), or the argument
/// of [`CircuitBreakerHandle::update`](super::CircuitBreakerHandle::update). See the [table of defaults](super#defaults).
///
/// ```
/// use std::time::Duration;
/// use tower_reliability::circuit_breaker::{CircuitBreakerConfig, Window};
///
/// const PAYMENTS: CircuitBreakerConfig = CircuitBreakerConfig::new()
///     .failure_rate(0.25)
///     .window(Window::Calls(200))
///     .slow_call(Duration::from_secs(2), 0.8)
///     .open_for(Duration::from_secs(30));
/// let layer = PAYMENTS.build()?;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, expecting = "a table, such as { failure_rate = 0.5 }")
)]
pub struct CircuitBreakerConfig {
    #[cfg_attr(feature = "serde", serde(with = "super::serde::rate"))]
    pub(super) failure_rate: Option<f64>,
    pub(super) min_requests: u32,
    #[cfg_attr(feature = "serde", serde(deserialize_with = "super::serde::window"))]
    pub(super) window: Window,
    pub(super) consecutive_failures: Option<u32>,
    pub(super) slow_call: Option<SlowCall>,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) open_for: Duration,
    pub(super) outage_ratio: f64,
    pub(super) open_multiplier: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) max_open_for: Duration,
    pub(super) open_jitter: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) backoff_decay_every: Duration,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) max_retry_after: Duration,
    pub(super) half_open_probes: u32,
    pub(super) half_open_successes: u32,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) probe_timeout: Duration,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) ramp: Duration,
    pub(super) abandoned: Abandoned,
}

/// The calls from which the failure rate and the slow-call rate are computed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Window {
    /// The last calls, however old they are. 1 to 1 000 000.
    Calls(u32),
    /// The calls of the last span of time, to a tenth of it. 10 ms to 1 day.
    Time(#[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))] Duration),
}

/// The threshold above which a call is slow, and the rate of slow calls that opens the circuit.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, expecting = "a table, such as { over = \"1s\", rate = 0.8 }")
)]
pub(super) struct SlowCall {
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) over: Duration,
    pub(super) rate: f64,
}

/// How a [cut call](super#cut-calls) counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Abandoned {
    /// As a failure or not at all, by the time that the backend had. The default.
    #[default]
    ByTime,
    /// As a failure. An impatient caller can then open the circuit of a healthy backend.
    Failure,
    /// Not at all. A backend that answers no call then opens the circuit only through a timeout inside the breaker.
    Ignore,
}

impl CircuitBreakerConfig {
    /// Opens when half of the last 100 calls failed, and at least 20 were made.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            failure_rate: Some(0.5),
            min_requests: 20,
            window: Window::Calls(100),
            consecutive_failures: None,
            slow_call: None,
            open_for: Duration::from_millis(700),
            outage_ratio: 1.0 / 6.0,
            open_multiplier: 1.0,
            max_open_for: Duration::from_secs(15),
            open_jitter: 0.2,
            backoff_decay_every: Duration::from_secs(30),
            max_retry_after: Duration::from_secs(60),
            half_open_probes: 3,
            half_open_successes: 2,
            probe_timeout: Duration::from_secs(30),
            ramp: Duration::ZERO,
            abandoned: Abandoned::ByTime,
        }
    }

    /// Opens after so many consecutive failures, and by no failure rate: the right breaker for one endpoint of many.
    ///
    /// In a file: `failure_rate = "off"` and `consecutive_failures = 5`.
    #[must_use]
    pub const fn consecutive(failures: u32) -> Self {
        Self { failure_rate: None, consecutive_failures: Some(failures), ..Self::new() }
    }

    /// Opens the circuit when this ratio of the calls in the window failed.
    ///
    /// A lower rate opens earlier, and more often by chance. Above 0, at most 1. Default: 0.5.
    #[must_use]
    pub const fn failure_rate(mut self, rate: f64) -> Self {
        self.failure_rate = Some(rate);
        self
    }

    /// Judges a rate only when the window holds at least so many calls.
    ///
    /// More calls make chance openings rarer, and a dead backend costs more calls. A smaller count window is judged
    /// when it is full. In a first burst, failures may end before successes, and open the circuit early. At least 1.
    /// Default: 20 calls.
    #[must_use]
    pub const fn min_requests(mut self, calls: u32) -> Self {
        self.min_requests = calls;
        self
    }

    /// Sets the calls from which the rates are computed.
    ///
    /// A count window reacts within as many failures at any traffic, and keeps old calls for as long as there is no
    /// traffic. A time window forgets by itself, needs half of its span to see a sudden death after steady health, and
    /// reads the clock once per call. Default: the last 100 calls.
    #[must_use]
    pub const fn window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// Also opens the circuit after so many consecutive failures.
    ///
    /// It reacts within a few calls, and by chance: at 10 % errors, five follow each other about once in 100 000 calls.
    /// At least 1. Default: off.
    #[must_use]
    pub const fn consecutive_failures(mut self, failures: u32) -> Self {
        self.consecutive_failures = Some(failures);
        self
    }

    /// Also opens the circuit when this ratio of the calls in the window took longer than `over`.
    ///
    /// A slow probe does not pass. Each call then reads the clock twice. `over` above 0; `rate` above 0, at most 1.
    /// Default: off.
    #[must_use]
    pub const fn slow_call(mut self, over: Duration, rate: f64) -> Self {
        self.slow_call = Some(SlowCall { over, rate });
        self
    }

    /// Keeps the circuit open for at least so long before it admits a probe.
    ///
    /// Longer spares the backend; shorter recovers sooner. Above 0, at most 1 day. Default: 700 ms.
    #[must_use]
    pub const fn open_for(mut self, delay: Duration) -> Self {
        self.open_for = delay;
        self
    }

    /// Keeps the circuit open for this ratio of the outage so far, if that is longer than [`open_for`](Self::open_for).
    ///
    /// Callers then wait at most this ratio of an outage longer than the outage lasts. The outage begins when the circuit
    /// opens and ends when it closes. 0 to 1; 0 keeps the open period constant. Default: a sixth.
    #[must_use]
    pub const fn outage_ratio(mut self, ratio: f64) -> Self {
        self.outage_ratio = ratio;
        self
    }

    /// Multiplies [`open_for`](Self::open_for) by this factor at each opening that soon follows another.
    ///
    /// Above 1 it spares a backend that flaps, and lets callers wait about as long again as the outage lasted. 1 to 100.
    /// Default: 1, which is off.
    #[must_use]
    pub const fn open_multiplier(mut self, factor: f64) -> Self {
        self.open_multiplier = factor;
        self
    }

    /// Caps the open period that the ratio or the multiplier leads to; a longer `open_for` is kept.
    ///
    /// Above 0, at most 1 day. Default: 15 s.
    #[must_use]
    pub const fn max_open_for(mut self, delay: Duration) -> Self {
        self.max_open_for = delay;
        self
    }

    /// Varies the open period by up to this ratio of itself, up and down, so that a fleet does not probe at once.
    ///
    /// 0 to 1; 0 is exact. Default: 0.2.
    #[must_use]
    pub const fn open_jitter(mut self, ratio: f64) -> Self {
        self.open_jitter = ratio;
        self
    }

    /// Takes back one step of the [multiplier](Self::open_multiplier) each time the circuit was closed for so long.
    ///
    /// Above 0, at most 1 day. Default: 30 s.
    #[must_use]
    pub const fn backoff_decay_every(mut self, delay: Duration) -> Self {
        self.backoff_decay_every = delay;
        self
    }

    /// Caps how long the backend can keep the circuit open by a hint such as `Retry-After`.
    ///
    /// A hint never shortens an open period. At most 1 day; 0 ignores hints. Default: 60 s.
    #[must_use]
    pub const fn max_retry_after(mut self, delay: Duration) -> Self {
        self.max_retry_after = delay;
        self
    }

    /// Judges a half-open circuit by at most so many probes: one at a time until the first has passed.
    ///
    /// More probes find a partial failure, and reach a backend that is still down. 1 to 1 000. Default: 3, or more
    /// `half_open_successes`.
    #[must_use]
    pub const fn half_open_probes(mut self, probes: u32) -> Self {
        self.half_open_probes = probes;
        self
    }

    /// Closes the circuit when so many probes have passed. 1 to a chosen `half_open_probes`. Default: 2, or fewer
    /// `half_open_probes`.
    #[must_use]
    pub const fn half_open_successes(mut self, probes: u32) -> Self {
        self.half_open_successes = probes;
        self
    }

    /// Takes back the place of a probe that has not ended after so long, and counts the probe as failed.
    ///
    /// Keep it above the slowest good call, or the circuit never closes. Above 0, at most 1 day. Default: 30 s.
    #[must_use]
    pub const fn probe_timeout(mut self, delay: Duration) -> Self {
        self.probe_timeout = delay;
        self
    }

    /// Admits a growing ratio of the calls for so long after the circuit has closed, from a tenth to all.
    ///
    /// It spares a backend with cold caches, and rejects calls that a healthy backend would answer. At most 1 day.
    /// Default: 0, which admits all at once.
    #[must_use]
    pub const fn ramp(mut self, over: Duration) -> Self {
        self.ramp = over;
        self
    }

    /// Sets how a [cut call](super#cut-calls) counts. Default: [`Abandoned::ByTime`].
    #[must_use]
    pub const fn abandoned(mut self, policy: Abandoned) -> Self {
        self.abandoned = policy;
        self
    }

    /// The threshold above which a call is slow; `None` if slow calls are not watched.
    pub(crate) fn slow_over(&self) -> Option<Duration> {
        self.slow_call.map(|slow| slow.over)
    }

    /// The idle time after which the failures of a backend no longer count.
    pub(super) fn forgiven_after(&self) -> Duration {
        self.max_open_for.max(self.open_for).saturating_add(self.backoff_decay_every)
    }

    /// The probes of a half-open circuit, and how many of them must pass. A default yields to a chosen number.
    pub(super) fn probes(&self) -> (u32, u32) {
        let (probes, successes, default) = (self.half_open_probes, self.half_open_successes, Self::new());
        if successes == default.half_open_successes {
            (probes, successes.min(probes))
        } else if probes == default.half_open_probes {
            (probes.max(successes), successes)
        } else {
            (probes, successes)
        }
    }

    pub(crate) const fn window_span(&self) -> Window {
        self.window
    }

    pub(crate) const fn longest_probe(&self) -> Duration {
        self.probe_timeout
    }
}

impl Default for CircuitBreakerConfig {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
