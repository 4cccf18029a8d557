//! The numbers of a hedge layer.

use std::time::Duration;

use crate::call::{ConfigError, ErrorClass, ErrorClasses};

/// The time after which a second request is sent, and the failures after which it is sent at once.
///
/// ```
/// use std::time::Duration;
/// use tower_reliability::hedge::HedgeConfig;
///
/// const READS: HedgeConfig = HedgeConfig::quantile(0.99)
///     .start(Duration::from_millis(200))
///     .max_delay(Duration::from_secs(2));
/// let layer = READS.build()?;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, expecting = "a table, such as { max_hedges = 1 }")
)]
pub struct HedgeConfig {
    #[cfg_attr(feature = "serde", serde(deserialize_with = "super::serde::after"))]
    pub(super) after: After,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) start: Duration,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) min_delay: Duration,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) max_delay: Duration,
    pub(super) max_hedges: u8,
    pub(super) on: ErrorClasses,
    pub(super) other_endpoints: bool,
}

/// When a further request is sent although none has failed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub(super) enum After {
    Quantile(f64),
    Fixed(#[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))] Duration),
    OnFailure,
}

impl HedgeConfig {
    /// One hedge, when a call takes longer than 95 in 100 of its class do.
    #[must_use]
    pub const fn new() -> Self {
        // "The Tail at Scale": at the p95 it costs about 5 % more requests, and takes most of the tail away.
        Self::quantile(0.95)
    }

    /// Sends a hedge when a call takes longer than this ratio of the calls of its [class](super::HedgeLayer::class_of).
    ///
    /// The layer learns the delay. A higher quantile sends fewer hedges and helps fewer calls. Above 0 and below 1.
    /// Default: 0.95.
    #[must_use]
    pub const fn quantile(quantile: f64) -> Self {
        Self::when(After::Quantile(quantile))
    }

    /// Sends a hedge when a call takes longer than this. With `Duration::ZERO` the call sends all its requests as soon
    /// as it finds the first one waiting. Any duration.
    #[must_use]
    pub const fn fixed(delay: Duration) -> Self {
        Self::when(After::Fixed(delay))
    }

    /// Sends a hedge only when another request of the call has failed.
    #[must_use]
    pub const fn on_failure() -> Self {
        Self::when(After::OnFailure)
    }

    const fn when(after: After) -> Self {
        Self {
            after,
            start: Duration::from_millis(500),
            // Finagle's number, and the resolution of tokio's timers.
            min_delay: Duration::from_millis(1),
            max_delay: Duration::from_secs(10),
            max_hedges: 1,
            on: ErrorClasses::of(&[
                ErrorClass::Connection,
                ErrorClass::Timeout,
                ErrorClass::RateLimit,
                ErrorClass::Server,
            ]),
            other_endpoints: true,
        }
    }

    /// The delay of a [quantile](Self::quantile) until the layer has measured 20 calls of the class.
    ///
    /// A delay that is too long costs little, since 20 calls are soon measured. Any duration. Default: 500 ms.
    #[must_use]
    pub const fn start(mut self, delay: Duration) -> Self {
        self.start = delay;
        self
    }

    /// The shortest delay of a [quantile](Self::quantile).
    ///
    /// A longer minimum saves hedges for calls that are fast anyway. At most a chosen [`max_delay`](Self::max_delay).
    /// Default: 1 ms, or a shorter `max_delay`.
    #[must_use]
    pub const fn min_delay(mut self, delay: Duration) -> Self {
        self.min_delay = delay;
        self
    }

    /// The longest delay of a [quantile](Self::quantile).
    ///
    /// A first attempt that a hedge has beaten is known only to have taken longer. If more calls hang than the quantile
    /// leaves out, the learnt delay therefore grows slowly, up to this one. Any duration. Default: 10 s, or a longer
    /// `min_delay`.
    #[must_use]
    pub const fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// The most requests of a call beyond the first, sent one delay apart.
    ///
    /// More hedges help against several slow endpoints, and cost more requests. From 1 to 8. Default: 1.
    #[must_use]
    pub const fn max_hedges(mut self, hedges: u8) -> Self {
        self.max_hedges = hedges;
        self
    }

    /// Sends the next hedge at once after failures of this class, because another request may still succeed.
    ///
    /// A failure of class [`RateLimit`](ErrorClass::RateLimit) or with a `Retry-After` sends no hedge, because the
    /// backend asks for fewer requests. The call then waits for its running requests. Default: connection, timeout,
    /// rate limit and server.
    #[must_use]
    pub const fn on(mut self, class: ErrorClass) -> Self {
        self.on = self.on.with(class);
        self
    }

    /// Returns failures of this class at once, and drops the other requests.
    ///
    /// Default: authentication, validation and unknown.
    #[must_use]
    pub const fn never(mut self, class: ErrorClass) -> Self {
        self.on = self.on.without(class);
        self
    }

    /// Sends no hedge after a local rejection in front of one endpoint, such as by an open circuit.
    ///
    /// For an inner service with a single endpoint. Without it, the next hedge is sent at once and without a withdrawal
    /// from the budget, since nothing was sent so far. Default: off.
    #[must_use]
    pub const fn no_other_endpoints(mut self) -> Self {
        self.other_endpoints = false;
        self
    }

    /// The delay before the first hedge while nothing is learnt; `None` for [`on_failure`](Self::on_failure).
    #[must_use]
    pub fn first_delay(&self) -> Option<Duration> {
        match self.after {
            After::Quantile(_) => Some(self.within_limits(self.start)),
            After::Fixed(delay) => Some(delay),
            After::OnFailure => None,
        }
    }

    /// This delay of a quantile, or the nearest one that is allowed.
    pub(super) fn within_limits(&self, delay: Duration) -> Duration {
        let (min, max) = self.limits();
        delay.max(min).min(max)
    }

    /// The shortest and the longest delay of a quantile. A default yields to a chosen number.
    fn limits(&self) -> (Duration, Duration) {
        let (min, max, default) = (self.min_delay, self.max_delay, Self::new());
        if min == default.min_delay {
            (min.min(max), max)
        } else if max == default.max_delay {
            (min, max.max(min))
        } else {
            (min, max)
        }
    }

    /// The delay before the first hedge, and its key, if it is not the default.
    pub(crate) fn chosen_delay(&self) -> Option<(&'static str, Duration)> {
        match self.after {
            After::Quantile(_) if self.min_delay > self.start && self.min_delay != Self::new().min_delay => {
                Some(("min_delay", self.min_delay))
            }
            After::Quantile(_) if self.start == Self::new().start => None,
            After::Quantile(_) => Some(("start", self.start.min(self.max_delay))),
            After::Fixed(delay) => Some(("after.fixed", delay)),
            After::OnFailure => None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let share = !matches!(self.after, After::Quantile(share) if !(share > 0.0 && share < 1.0));
        let hedges = (1..=MAX_HEDGES).contains(&self.max_hedges);
        let (min, max) = self.limits();
        ConfigError::check(share, "after.quantile", "must be above 0 and below 1")?;
        ConfigError::check(min <= max, "min_delay", "must be at most max_delay")?;
        ConfigError::check(hedges, "max_hedges", "must be at least 1 and at most 8")
    }
}

impl Default for HedgeConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// More requests for one call would be an attack on the backend.
const MAX_HEDGES: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_range_is_refused_by_its_name() {
        let new = HedgeConfig::new;
        for (config, field) in [
            (HedgeConfig::quantile(0.0), "after.quantile"),
            (HedgeConfig::quantile(1.0), "after.quantile"),
            (HedgeConfig::quantile(f64::NAN), "after.quantile"),
            (new().min_delay(Duration::from_secs(2)).max_delay(Duration::from_secs(1)), "min_delay"),
            (new().max_hedges(0), "max_hedges"),
            (new().max_hedges(9), "max_hedges"),
            (HedgeConfig::on_failure().max_hedges(u8::MAX), "max_hedges"),
        ] {
            assert_eq!(config.check().map_err(|error| error.field()), Err(field), "{config:?}");
        }
    }

    #[test]
    fn extreme_numbers_are_fine() {
        let extreme = HedgeConfig::fixed(Duration::MAX).start(Duration::MAX).max_delay(Duration::MAX);
        assert_eq!(extreme.max_hedges(8).check(), Ok(()));
        assert_eq!(HedgeConfig::fixed(Duration::ZERO).check(), Ok(()));
        let none =
            HedgeConfig::new().start(Duration::ZERO).min_delay(Duration::ZERO).max_delay(Duration::ZERO);
        assert_eq!(none.check(), Ok(()));
    }

    #[test]
    fn a_default_limit_of_the_delay_yields_to_the_chosen_one() {
        let (long, short) = (Duration::from_secs(11), Duration::from_micros(1));
        for (config, first) in
            [(HedgeConfig::new().min_delay(long), long), (HedgeConfig::new().max_delay(short), short)]
        {
            assert_eq!(config.check(), Ok(()), "{config:?}");
            assert_eq!(config.first_delay(), Some(first));
            assert_eq!(config.within_limits(Duration::from_secs(1)), first);
        }
    }

    #[test]
    fn the_first_delay_is_known_before_anything_is_learnt() {
        let millis = Duration::from_millis;
        assert_eq!(HedgeConfig::new().start(millis(7)).first_delay(), Some(millis(7)));
        assert_eq!(HedgeConfig::new().start(Duration::MAX).first_delay(), Some(millis(10_000)));
        assert_eq!(HedgeConfig::fixed(millis(8)).first_delay(), Some(millis(8)));
        assert_eq!(HedgeConfig::on_failure().first_delay(), None);
    }
}
