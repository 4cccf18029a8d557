//! The numbers of a retry.

use std::{sync::Arc, time::Duration};

use super::backoff::{Backoff, Jitter, Schedule};
use crate::call::{ConfigError, ErrorClass, ErrorClasses, PerClass};

/// What is tried again, how often, and after what time.
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
    serde(default, deny_unknown_fields)
)]
pub struct RetryConfig {
    pub(super) backoff: Backoff,
    pub(super) multiplier: f64,
    pub(super) max_attempts: u32,
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub(super) max_delay: Duration,
    pub(super) jitter: Jitter,
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub(super) max_elapsed: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub(super) max_retry_after: Duration,
    pub(super) on: ErrorClasses,
    #[cfg_attr(feature = "serde", serde(with = "super::serde"))]
    pub(super) class_delays: PerClass<Option<Duration>>,
    pub(super) other_endpoints: bool,
}

impl RetryConfig {
    /// Up to three attempts, after at most 50 ms and then 100 ms.
    #[must_use]
    pub const fn new() -> Self {
        // AWS's 50 ms and 20 s, as of 2026.
        Self::exponential(Duration::from_millis(50))
    }

    /// Waits the same time before each attempt; less, as the [jitter](Self::jitter) has it.
    #[must_use]
    pub const fn fixed(delay: Duration) -> Self {
        Self::over(Backoff::Fixed(delay))
    }

    /// Waits 1, 2, 3, 4 … times this long; less, as the [jitter](Self::jitter) has it.
    #[must_use]
    pub const fn linear(step: Duration) -> Self {
        Self::over(Backoff::Linear(step))
    }

    /// Waits this long, then each time [`multiplier`](Self::multiplier) times as long, by default twice; less, as the
    /// [jitter](Self::jitter) has it.
    #[must_use]
    pub const fn exponential(base: Duration) -> Self {
        Self::over(Backoff::Exponential(base))
    }

    /// Waits 1, 1, 2, 3, 5, 8 … times this long; less, as the [jitter](Self::jitter) has it.
    #[must_use]
    pub const fn fibonacci(base: Duration) -> Self {
        Self::over(Backoff::Fibonacci(base))
    }

    /// Waits as long as it has learnt to: a delay after which an attempt succeeded draws it near, one after which an
    /// attempt failed pushes it up. It begins with `start`; a second retry waits [`multiplier`](Self::multiplier) times as
    /// long as the first.
    #[must_use]
    pub const fn adaptive(start: Duration) -> Self {
        Self::over(Backoff::Adaptive(start))
    }

    /// Waits as long as listed, less as the [jitter](Self::jitter) has it; after the last delay of the list, that one again.
    /// 1 to 8 delays.
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

    /// By what an exponential or adaptive delay grows.
    ///
    /// From 1 to 100. Default: 2.
    #[must_use]
    pub const fn multiplier(mut self, factor: f64) -> Self {
        self.multiplier = factor;
        self
    }

    /// How many attempts there may be, the first included. With 1 nothing is tried again.
    ///
    /// At least 1. Default: 3.
    #[must_use]
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// The longest delay, jitter included. A server's hint may be longer.
    ///
    /// Fixed and listed delays, and those of classes, are cut to it too. Default: 20 s.
    #[must_use]
    pub const fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// How the delays are spread.
    ///
    /// Default: [`Jitter::Full`].
    #[must_use]
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// How long after the beginning of a call the last attempt may be granted.
    ///
    /// The deadline of a request, where it has one, is kept anyway, and so is the total timeout of a stack. A service below
    /// that is slow to be ready may hold an attempt up that was granted in time; a timeout outside ends that. Above 0.
    /// Default: no limit.
    #[must_use]
    pub const fn max_elapsed(mut self, span: Duration) -> Self {
        self.max_elapsed = Some(span);
        self
    }

    /// The longest time that a server may ask to wait; a longer one is taken as this.
    ///
    /// A hint that is shorter than the delay of the row is taken as that delay. Up to a tenth is added, so that not all
    /// who were told the same come at once: 60 s become 66 s at most. Default: 60 s.
    #[must_use]
    pub const fn max_retry_after(mut self, delay: Duration) -> Self {
        self.max_retry_after = delay;
        self
    }

    /// Also tries again after failures of this class.
    ///
    /// Default: connection, timeout, rate limit and server.
    #[must_use]
    pub const fn on(mut self, class: ErrorClass) -> Self {
        self.on = self.on.with(class);
        self
    }

    /// Does not try again after failures of this class.
    ///
    /// Default: authentication, validation and unknown.
    #[must_use]
    pub const fn never(mut self, class: ErrorClass) -> Self {
        self.on = self.on.without(class);
        self
    }

    /// Begins the row of delays after failures of this class with this one. With a schedule, it is the only one.
    ///
    /// Default: the same row for all.
    #[must_use]
    pub const fn class_delay(mut self, class: ErrorClass, delay: Duration) -> Self {
        self.class_delays = self.class_delays.with(class, Some(delay));
        self
    }

    /// Also tries again, at once and without asking the budget, what this side has turned away in front of one of
    /// several endpoints. Take it where what lies below can reach another one.
    ///
    /// Default: off; a circuit that is open is open for the next attempt too.
    #[must_use]
    pub const fn other_endpoints(mut self) -> Self {
        self.other_endpoints = true;
        self
    }

    /// Checks the numbers, for [`RetryLayer::policy`].
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range.
    pub fn policy(self) -> Result<RetryPolicy, ConfigError> {
        self.check()?;
        Ok(RetryPolicy(Arc::new(self)))
    }

    /// The first delay of the row.
    pub(crate) fn first_delay(&self) -> Duration {
        self.backoff.delay(0, self.multiplier, None, self.max_delay)
    }

    /// How long after the beginning of a call the last attempt may begin.
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
