//! The numbers of a circuit breaker.

use std::time::Duration;

/// When a circuit opens, for how long, and what it asks of the peer before it closes again.
///
/// It is plain data: a constant, a file's content (feature `serde`, durations as `"30s"`), or what
/// [`CircuitBreakerHandle::update`](super::CircuitBreakerHandle::update) takes while the breaker runs.
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
    serde(default, deny_unknown_fields)
)]
pub struct CircuitBreakerConfig {
    #[cfg_attr(feature = "serde", serde(with = "super::off"))]
    pub(super) failure_rate: Option<f64>,
    pub(super) min_requests: u32,
    pub(super) window: Window,
    pub(super) consecutive_failures: Option<u32>,
    pub(super) slow_call: Option<SlowCall>,
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub(super) open_for: Duration,
    pub(super) open_multiplier: f64,
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub(super) max_open_for: Duration,
    pub(super) open_jitter: f64,
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub(super) forgive_after: Duration,
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub(super) max_retry_after: Duration,
    pub(super) half_open_probes: u32,
    pub(super) half_open_successes: u32,
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub(super) probe_timeout: Duration,
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub(super) half_open_for: Duration,
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub(super) ramp: Duration,
    pub(super) abandoned: Abandoned,
}

/// What the failure rate and the slow-call rate are taken over.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Window {
    /// The last calls, however long ago. 1 to 1 000 000.
    Calls(u32),
    /// The calls of the last stretch of time, to a tenth of it. 10 ms to 1 day.
    Time(#[cfg_attr(feature = "serde", serde(with = "humantime_serde"))] Duration),
}

/// From when a call is slow, and how many may be.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub(super) struct SlowCall {
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub(super) over: Duration,
    pub(super) share: f64,
}

/// How a call counts that was given up: its future was dropped after it had been polled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Abandoned {
    /// As a failure: a peer that only ever lets its callers time out trips the circuit. The default.
    #[default]
    Failure,
    /// Not at all. Take it where calls are dropped as a matter of routine.
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
            open_for: Duration::from_secs(5),
            open_multiplier: 2.0,
            max_open_for: Duration::from_secs(300),
            open_jitter: 0.2,
            forgive_after: Duration::from_secs(30),
            max_retry_after: Duration::from_secs(300),
            half_open_probes: 3,
            half_open_successes: 2,
            probe_timeout: Duration::from_secs(30),
            half_open_for: Duration::from_secs(60),
            ramp: Duration::ZERO,
            abandoned: Abandoned::Failure,
        }
    }

    /// Opens after that many failures in a row, and by no failure rate: the right breaker for one endpoint of many.
    ///
    /// In a file: `failure_rate = "off"` and `consecutive_failures = 5`.
    #[must_use]
    pub const fn consecutive(failures: u32) -> Self {
        Self { failure_rate: None, consecutive_failures: Some(failures), ..Self::new() }
    }

    /// The share of failed calls in the window from which the circuit opens; a share of just that opens it.
    ///
    /// Above 0, at most 1. Default: 0.5.
    #[must_use]
    pub const fn failure_rate(mut self, share: f64) -> Self {
        self.failure_rate = Some(share);
        self
    }

    /// How many calls the window must hold before a rate says anything.
    ///
    /// At least 1. A window over fewer calls than this is judged when it is full. Default: 20.
    #[must_use]
    pub const fn min_requests(mut self, calls: u32) -> Self {
        self.min_requests = calls;
        self
    }

    /// What the rates are taken over.
    ///
    /// A window over calls reacts within as many failures, however much traffic there is, and remembers for as long as
    /// there is none. A window over time forgets by itself, and takes half of itself to see a sudden death after steady
    /// health. It costs a reading of the clock per call. Default: the last 100 calls.
    #[must_use]
    pub const fn window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// Also opens after that many failures in a row, whatever the rates say.
    ///
    /// It reacts within a few calls, and by chance: at 10 % background errors, five in a row happen about once in
    /// 100 000 calls. At least 1. Default: off.
    #[must_use]
    pub const fn consecutive_failures(mut self, failures: u32) -> Self {
        self.consecutive_failures = Some(failures);
        self
    }

    /// Also opens when that share of the calls in the window took longer than `over`.
    ///
    /// While half-open, a probe that is slow does not pass. It costs a reading of the clock per call. `over` above
    /// 0; `share` above 0, at most 1. Default: off.
    #[must_use]
    pub const fn slow_call(mut self, over: Duration, share: f64) -> Self {
        self.slow_call = Some(SlowCall { over, share });
        self
    }

    /// How long the circuit stays open before it lets a probe through.
    ///
    /// Longer spares the peer; shorter recovers sooner. Above 0. Default: 5 s.
    #[must_use]
    pub const fn open_for(mut self, delay: Duration) -> Self {
        self.open_for = delay;
        self
    }

    /// By what the time open grows with each opening that follows soon after the last.
    ///
    /// 1 keeps it constant. 1 to 100. Default: 2.
    #[must_use]
    pub const fn open_multiplier(mut self, factor: f64) -> Self {
        self.open_multiplier = factor;
        self
    }

    /// The most that the multiplier may make of the time open; an `open_for` above it stays as it is.
    ///
    /// Above 0. Default: 300 s.
    #[must_use]
    pub const fn max_open_for(mut self, delay: Duration) -> Self {
        self.max_open_for = delay;
        self
    }

    /// The share of itself by which the time open varies, up and down, so that a fleet does not come back at once.
    ///
    /// 0 is exact. 0 to 1. Default: 0.2.
    #[must_use]
    pub const fn open_jitter(mut self, share: f64) -> Self {
        self.open_jitter = share;
        self
    }

    /// How long the circuit must have been closed for one earlier opening to be forgotten by the multiplier.
    ///
    /// Above 0. Default: 30 s.
    #[must_use]
    pub const fn forgive_after(mut self, delay: Duration) -> Self {
        self.forgive_after = delay;
        self
    }

    /// The most that a peer's own word (`Retry-After`) may make of the time open. 0 ignores it. Default: 300 s.
    #[must_use]
    pub const fn max_retry_after(mut self, delay: Duration) -> Self {
        self.max_retry_after = delay;
        self
    }

    /// How many calls may probe the peer while the circuit is half-open. 1 to 1 000. Default: 3.
    #[must_use]
    pub const fn half_open_probes(mut self, probes: u32) -> Self {
        self.half_open_probes = probes;
        self
    }

    /// How many of the probes must pass for the circuit to close. 1 to `half_open_probes`. Default: 2.
    #[must_use]
    pub const fn half_open_successes(mut self, probes: u32) -> Self {
        self.half_open_successes = probes;
        self
    }

    /// After what time a probe without an answer loses its place and counts as [abandoned](Self::abandoned).
    ///
    /// Above 0. Default: 30 s.
    #[must_use]
    pub const fn probe_timeout(mut self, delay: Duration) -> Self {
        self.probe_timeout = delay;
        self
    }

    /// How long after its first probe a half-open circuit opens again in which no probe has passed.
    ///
    /// At least `probe_timeout`, or no probe could use up its time. Default: 60 s.
    #[must_use]
    pub const fn half_open_for(mut self, delay: Duration) -> Self {
        self.half_open_for = delay;
        self
    }

    /// Over what time a circuit that closes again admits a share of the calls that rises from a tenth to all.
    ///
    /// Default: 0, all at once.
    #[must_use]
    pub const fn ramp(mut self, over: Duration) -> Self {
        self.ramp = over;
        self
    }

    /// How a call counts whose future was dropped before it was done, or before its end a response that is
    /// [`Deferred`](crate::Outcome::Deferred). Default: as a failure.
    #[must_use]
    pub const fn abandoned(mut self, policy: Abandoned) -> Self {
        self.abandoned = policy;
        self
    }

    /// Above what time a call is slow; `None` where that is not asked.
    pub(crate) fn slow_over(&self) -> Option<Duration> {
        self.slow_call.map(|slow| slow.over)
    }

    /// After what time of rest nothing is held against a peer any more.
    pub(super) fn forgiven_after(&self) -> Duration {
        self.max_open_for.max(self.open_for).saturating_add(self.forgive_after)
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
