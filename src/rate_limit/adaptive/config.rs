//! The numbers of an adaptive rate.

use std::{num::NonZeroU32, time::Duration};

use crate::{
    call::ConfigError,
    rate_limit::{config::Span, rate::Rate},
};

/// How a rate limit adapts its rate to the backend. Part of a [`RateLimitConfig`](super::super::RateLimitConfig).
///
/// ```
/// use std::time::Duration;
/// use tower_reliability::rate_limit::{RateLimitConfig, adaptive::AdaptiveRateConfig};
///
/// // Between 5 and 200 calls per second, and 50 at the start.
/// let learns = AdaptiveRateConfig::new().floor(5).ceiling(200);
/// let pacing = RateLimitConfig::per_second(50)
///     .burst(1)
///     .max_wait(Duration::from_secs(5))
///     .adaptive(learns);
/// # pacing.build()?;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, expecting = "a table, such as { ceiling = 200 }")
)]
pub struct AdaptiveRateConfig {
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    floor: Option<u32>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    ceiling: Option<u32>,
    pub(super) decrease_factor: f64,
    pub(super) recovery: Recovery,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) recover_within: Duration,
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::call::duration::optional", skip_serializing_if = "Option::is_none")
    )]
    pub(super) target_latency: Option<Duration>,
}

/// The curve by which a rate grows after a decrease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Recovery {
    /// Fast at first, slow near the rate before the decrease, and then faster and faster: the curve of TCP CUBIC
    /// (RFC 9438).
    ///
    /// The rate stays long where the backend last asked for less, and finds a higher quota soon. The default.
    #[default]
    Cubic,
    /// Even: by the same step per time, also beyond the rate before the decrease.
    Additive,
}

/// The rates between which a machine moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::rate_limit) struct Bounds {
    /// In tokens per second, as are the next two.
    pub(super) initial: f64,
    pub(super) floor: f64,
    pub(super) ceiling: f64,
    /// The rate of the floor.
    pub(super) slowest: Rate,
    /// The rate of the ceiling.
    pub(super) fastest: Rate,
}

impl AdaptiveRateConfig {
    /// A rate that is lowered to 70 % at each congestion, and is back after 5 s of use.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            floor: None,
            ceiling: None,
            decrease_factor: 0.7,
            recovery: Recovery::Cubic,
            recover_within: Duration::from_secs(5),
            target_latency: None,
        }
    }

    /// Never lowers the rate below so many calls per [period](super::super::RateLimitConfig::per).
    ///
    /// A low floor spares a backend in trouble; a high one recovers sooner. At least 1, at most the rate. Default: a
    /// hundredth of the rate, rounded up.
    #[must_use]
    pub const fn floor(mut self, calls: u32) -> Self {
        self.floor = Some(calls);
        self
    }

    /// Never raises the rate above so many calls per [period](super::super::RateLimitConfig::per).
    ///
    /// At least the rate, and at most one call per microsecond. Default: the rate, so a limit never exceeds it.
    #[must_use]
    pub const fn ceiling(mut self, calls: u32) -> Self {
        self.ceiling = Some(calls);
        self
    }

    /// Lowers the rate to this share of it when the backend is congested.
    ///
    /// A low factor ends an overload sooner; a high one uses more of the quota. 0.1 to 0.95. Default: 0.7.
    #[must_use]
    pub const fn decrease_factor(mut self, factor: f64) -> Self {
        self.decrease_factor = factor;
        self
    }

    /// Raises the rate along this curve. Default: [`Recovery::Cubic`].
    #[must_use]
    pub const fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = recovery;
        self
    }

    /// Is back at the rate before a decrease after so long.
    ///
    /// Only time counts in which calls find too few tokens: a limit that holds up no call does not grow. A short time finds
    /// a higher quota soon, and meets the quota more often. 100 ms to 1 h. Default: 5 s.
    #[must_use]
    pub const fn recover_within(mut self, time: Duration) -> Self {
        self.recover_within = time;
        self
    }

    /// Takes it for congestion when more than half of ten answers take longer than this.
    ///
    /// A slow answer alone says little, so the rate does not follow the tail of the latencies. Above 0. Default: none, and
    /// only answers such as 429 lower the rate.
    #[must_use]
    pub const fn target_latency(mut self, latency: Duration) -> Self {
        self.target_latency = Some(latency);
        self
    }

    /// The rates of a limit whose rate and burst are checked. Names the first field that breaks its rule.
    pub(in crate::rate_limit) fn check(&self, rate: Span) -> Result<(), ConfigError> {
        let floor = self.floor.is_none_or(|floor| (1..=rate.calls).contains(&floor));
        ConfigError::check(floor, "adaptive.floor", "must be at least 1, and at most the rate")?;
        let ceiling = self.ceiling.unwrap_or(rate.calls);
        let is_reached = ceiling >= rate.calls && u128::from(ceiling) <= rate.period.as_micros();
        let rule = "must be at least the rate, and at most 1 call per microsecond";
        ConfigError::check(is_reached, "adaptive.ceiling", rule)?;
        let slowest = u128::from(self.lowest(rate)) * SLOWEST.as_nanos();
        let rule = "must be at least 1 call per hour";
        ConfigError::check(rate.period.as_nanos() <= slowest, "adaptive.floor", rule)?;
        let factor = (0.1..=0.95).contains(&self.decrease_factor);
        ConfigError::check(factor, "adaptive.decrease_factor", "must be 0.1 to 0.95")?;
        let time = (SHORTEST..=SLOWEST).contains(&self.recover_within);
        ConfigError::check(time, "adaptive.recover_within", "must be 100 ms to 1 h")?;
        let target = self.target_latency.is_none_or(|target| !target.is_zero());
        ConfigError::check(target, "adaptive.target_latency", "must be above 0")
    }

    /// The rates of a limit. The config has been checked.
    pub(in crate::rate_limit) fn bounds(&self, rate: Span, burst: NonZeroU32) -> Option<Bounds> {
        let per_second = |calls: u32| f64::from(calls) / rate.period.as_secs_f64();
        let of = |calls| Some(Rate::new(NonZeroU32::new(calls)?, rate.period, burst));
        let (floor, ceiling) = (self.lowest(rate), self.ceiling.unwrap_or(rate.calls));
        Some(Bounds {
            initial: per_second(rate.calls),
            floor: per_second(floor),
            ceiling: per_second(ceiling),
            slowest: of(floor)?,
            fastest: of(ceiling)?,
        })
    }

    fn lowest(&self, rate: Span) -> u32 {
        self.floor.unwrap_or(rate.calls.div_ceil(100))
    }
}

impl Default for AdaptiveRateConfig {
    fn default() -> Self {
        Self::new()
    }
}

const SHORTEST: Duration = Duration::from_millis(100);
const SLOWEST: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const FIFTY: Span = Span { calls: 50, period: SECOND };

    #[test]
    fn case_21_a_number_out_of_range_is_refused_by_its_name() {
        let new = AdaptiveRateConfig::new;
        for (config, field) in [
            (new().floor(0), "adaptive.floor"),
            (new().floor(51), "adaptive.floor"),
            (new().ceiling(49), "adaptive.ceiling"),
            (new().ceiling(1_000_001), "adaptive.ceiling"),
            (new().decrease_factor(f64::NAN), "adaptive.decrease_factor"),
            (new().decrease_factor(1.0), "adaptive.decrease_factor"),
            (new().decrease_factor(0.0), "adaptive.decrease_factor"),
            (new().recover_within(Duration::ZERO), "adaptive.recover_within"),
            (new().recover_within(Duration::MAX), "adaptive.recover_within"),
            (new().target_latency(Duration::ZERO), "adaptive.target_latency"),
        ] {
            assert_eq!(config.check(FIFTY).map_err(|error| error.field()), Err(field), "{config:?}");
        }
        let slow = Span { calls: 24, period: 24 * SLOWEST };
        assert_eq!(new().check(slow).map_err(|error| error.field()), Err("adaptive.floor"));
        for config in [new(), new().floor(1).ceiling(1_000_000), new().floor(50).ceiling(50)] {
            assert_eq!(config.check(FIFTY), Ok(()), "{config:?}");
        }
    }

    #[test]
    fn the_default_floor_is_a_hundredth_and_the_default_ceiling_is_the_rate() {
        let bounds = |calls| {
            let rate = Span { calls, period: SECOND };
            let bounds = AdaptiveRateConfig::new().bounds(rate, NonZeroU32::MIN).expect("above 0");
            [bounds.floor, bounds.initial, bounds.ceiling].map(|rate| format!("{rate}"))
        };
        assert_eq!(bounds(50), ["1", "50", "50"]);
        assert_eq!(bounds(1_001), ["11", "1001", "1001"]);
    }
}
