//! The numbers of a retry layer.

use std::{sync::Arc, time::Duration};

use super::backoff::{Backoff, Jitter, Schedule};
use crate::call::{ConfigError, ErrorClass, ErrorClasses, PerClass};

/// Which failures are retried, how often, and after which delays.
///
/// ```
/// use std::time::Duration;
/// use tower_reliability::{ErrorClass, retry::{Jitter, RetryConfig}};
///
/// const PATIENT: RetryConfig = RetryConfig::exponential(Duration::from_millis(100))
///     .max_attempts(5)
///     .max_delay(Duration::from_secs(10))
///     .jitter(Jitter::Equal)
///     .class_delay(ErrorClass::RateLimit, Duration::from_secs(1))
///     .never(ErrorClass::Timeout);
/// let layer = PATIENT.build()?;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, expecting = "a table, such as { max_attempts = 3 }")
)]
pub struct RetryConfig {
    #[cfg_attr(feature = "serde", serde(deserialize_with = "super::serde::backoff"))]
    pub(super) backoff: Backoff,
    pub(super) multiplier: f64,
    pub(super) max_attempts: u32,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) max_delay: Duration,
    #[cfg_attr(feature = "serde", serde(deserialize_with = "super::serde::jitter"))]
    pub(super) jitter: Jitter,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration::optional"))]
    pub(super) max_elapsed: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) max_retry_after: Duration,
    pub(super) on: ErrorClasses,
    #[cfg_attr(feature = "serde", serde(with = "super::serde::class_delays"))]
    pub(super) class_delays: PerClass<Option<Duration>>,
    pub(super) other_endpoints: bool,
}

impl RetryConfig {
    /// Up to three attempts, with delays of at most 50 ms and then 100 ms.
    #[must_use]
    pub const fn new() -> Self {
        // AWS's 50 ms and 20 s, as of 2026.
        Self::exponential(Duration::from_millis(50))
    }

    /// Waits this long before each retry. The [jitter](Self::jitter) shortens the delay.
    #[must_use]
    pub const fn fixed(delay: Duration) -> Self {
        Self::over(Backoff::Fixed(delay))
    }

    /// Waits 1, 2, 3, 4 … times this long. The [jitter](Self::jitter) shortens each delay.
    #[must_use]
    pub const fn linear(step: Duration) -> Self {
        Self::over(Backoff::Linear(step))
    }

    /// Waits this long, then [`multiplier`](Self::multiplier) times as long each time. The [jitter](Self::jitter)
    /// shortens each delay.
    #[must_use]
    pub const fn exponential(base: Duration) -> Self {
        Self::over(Backoff::Exponential(base))
    }

    /// Waits 1, 1, 2, 3, 5, 8 … times this long. The [jitter](Self::jitter) shortens each delay.
    #[must_use]
    pub const fn fibonacci(base: Duration) -> Self {
        Self::over(Backoff::Fibonacci(base))
    }

    /// Learns the delay. A retry that succeeds moves the learnt delay towards its own; a retry that fails makes it
    /// longer.
    ///
    /// The layer begins with `start`, which is above 0. A second retry waits [`multiplier`](Self::multiplier) times as
    /// long as the first.
    #[must_use]
    pub const fn adaptive(start: Duration) -> Self {
        Self::over(Backoff::Adaptive(start))
    }

    /// Waits as listed, 1 to 8 delays, and repeats the last one. The [jitter](Self::jitter) shortens each delay.
    #[must_use]
    pub const fn schedule(delays: &[Duration]) -> Self {
        Self::over(Backoff::Schedule(Schedule::new(delays)))
    }

    const fn over(backoff: Backoff) -> Self {
        Self {
            backoff,
            multiplier: 2.0,
            max_attempts: 3,
            max_delay: Duration::from_secs(20),
            jitter: Jitter::Full,
            max_elapsed: None,
            max_retry_after: Duration::from_secs(60),
            on: ErrorClasses::of(&[
                ErrorClass::Connection,
                ErrorClass::Timeout,
                ErrorClass::RateLimit,
                ErrorClass::Server,
            ]),
            class_delays: PerClass::all(None),
            other_endpoints: false,
        }
    }

    /// The factor by which an exponential or adaptive delay grows.
    ///
    /// A large factor leaves a backend alone sooner, and makes callers wait longer. From 1 to 100. Default: 2.
    #[must_use]
    pub const fn multiplier(mut self, factor: f64) -> Self {
        self.multiplier = factor;
        self
    }

    /// The most attempts of a call, the first included. With 1 nothing is retried.
    ///
    /// More attempts hide more failures and use more of the budget. At least 1. Default: 3.
    #[must_use]
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// The longest delay, jitter included. A `Retry-After` may be longer.
    ///
    /// It cuts fixed and listed delays and the delays of classes too. Any duration. Default: 20 s.
    #[must_use]
    pub const fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// How the delays are spread, so that clients that failed together do not return together.
    ///
    /// Default: [`Jitter::Full`].
    #[must_use]
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// The time after the start of a call until which an attempt may begin.
    ///
    /// It limits when the last attempt begins, not when it ends: use a timeout for that. An attempt that begins in time
    /// may still wait for an inner service that is not ready. The deadline of a request and the total timeout of a
    /// stack hold anyway. Above 0. Default: no limit.
    #[must_use]
    pub const fn max_elapsed(mut self, span: Duration) -> Self {
        self.max_elapsed = Some(span);
        self
    }

    /// The longest `Retry-After` that is followed. A longer one is cut to it.
    ///
    /// A hint shorter than the retry's own delay has no effect. The layer adds up to a tenth, so that clients with the
    /// same hint do not return together: 60 s become at most 66 s. Any duration. Default: 60 s.
    #[must_use]
    pub const fn max_retry_after(mut self, delay: Duration) -> Self {
        self.max_retry_after = delay;
        self
    }

    /// Retries failures of this class too.
    ///
    /// Default: connection, timeout, rate limit and server.
    #[must_use]
    pub const fn on(mut self, class: ErrorClass) -> Self {
        self.on = self.on.with(class);
        self
    }

    /// Does not retry failures of this class.
    ///
    /// Default: authentication, validation and unknown.
    #[must_use]
    pub const fn never(mut self, class: ErrorClass) -> Self {
        self.on = self.on.without(class);
        self
    }

    /// Begins the sequence of delays with this one, after failures of this class. A schedule becomes this one delay.
    ///
    /// Any duration. Default: the same sequence for all classes.
    #[must_use]
    pub const fn class_delay(mut self, class: ErrorClass, delay: Duration) -> Self {
        self.class_delays = self.class_delays.with(class, Some(delay));
        self
    }

    /// Retries a local rejection in front of one endpoint, at once and without a withdrawal from the budget.
    ///
    /// For an inner service with several endpoints. Without several, an open circuit would reject the next attempt too.
    /// Default: off.
    #[must_use]
    pub const fn other_endpoints(mut self) -> Self {
        self.other_endpoints = true;
        self
    }

    /// Checks the numbers, for [`RetryLayer::policy`](super::RetryLayer::policy).
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range.
    pub fn policy(self) -> Result<RetryPolicy, ConfigError> {
        self.check()?;
        Ok(RetryPolicy(Arc::new(self)))
    }

    /// Whether the inner service can reach more than one endpoint.
    pub(crate) const fn reaches_other_endpoints(&self) -> bool {
        self.other_endpoints
    }

    /// The first delay of the sequence.
    pub(crate) fn first_delay(&self) -> Duration {
        self.backoff.delay(0, self.multiplier, None, self.max_delay)
    }

    /// The time after the start of a call until which an attempt may begin.
    pub(crate) const fn longest(&self) -> Option<Duration> {
        self.max_elapsed
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if let Some(flaw) = self.backoff.flaw() {
            return Err(ConfigError::new("backoff", flaw));
        }
        let spread = !matches!(self.jitter, Jitter::Spread(share) if !(0.0..=1.0).contains(&share));
        let factor = (1.0..=100.0).contains(&self.multiplier);
        ConfigError::check(factor, "multiplier", "must be at least 1 and at most 100")?;
        ConfigError::check(self.max_attempts > 0, "max_attempts", "must be at least 1")?;
        ConfigError::check(spread, "jitter", "must spread by at least 0 and at most 1")?;
        ConfigError::check(self.max_elapsed != Some(Duration::ZERO), "max_elapsed", "must be above 0")
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// A config that has been checked, for some requests of a layer. Made by [`RetryConfig::policy`].
///
/// # Clone
///
/// Clones are cheap and share the numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy(Arc<RetryConfig>);

impl RetryPolicy {
    pub(super) fn config(&self) -> &RetryConfig {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_range_is_refused_by_its_name() {
        let new = RetryConfig::new;
        for (config, field) in [
            (new().max_attempts(0), "max_attempts"),
            (new().multiplier(f64::NAN), "multiplier"),
            (new().multiplier(0.5), "multiplier"),
            (new().jitter(Jitter::Spread(f64::NAN)), "jitter"),
            (new().jitter(Jitter::Spread(1.1)), "jitter"),
            (new().max_elapsed(Duration::ZERO), "max_elapsed"),
            (RetryConfig::schedule(&[]), "backoff"),
            (RetryConfig::schedule(&[Duration::ZERO; 9]), "backoff"),
            (RetryConfig::adaptive(Duration::ZERO), "backoff"),
        ] {
            assert_eq!(config.check().map_err(|error| error.field()), Err(field), "{config:?}");
        }
    }

    #[test]
    fn extreme_numbers_are_fine() {
        let extreme = RetryConfig::exponential(Duration::MAX)
            .max_attempts(u32::MAX)
            .max_delay(Duration::MAX)
            .max_retry_after(Duration::MAX)
            .max_elapsed(Duration::MAX);
        assert_eq!(extreme.check(), Ok(()));
        assert_eq!(RetryConfig::fixed(Duration::ZERO).max_delay(Duration::ZERO).check(), Ok(()));
    }
}
