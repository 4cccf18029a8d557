//! The numbers of a limit that learns.

use std::time::Duration;

use crate::call::ConfigError;

/// The bounds of a limit that learns, and how it learns.
///
/// ```
/// use tower_reliability::concurrency_limit::{AdaptiveLimitConfig, ConcurrencyLimitConfig};
///
/// const LIMIT: ConcurrencyLimitConfig =
///     ConcurrencyLimitConfig::new(40).adaptive(AdaptiveLimitConfig::new().floor(10).ceiling(400));
/// let layer = LIMIT.build()?;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, expecting = "a table, such as { floor = 10, ceiling = 400 }")
)]
pub struct AdaptiveLimitConfig {
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    floor: Option<u32>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    ceiling: Option<u32>,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    window: Duration,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    probe_every: Duration,
}

impl AdaptiveLimitConfig {
    /// With the defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self { floor: None, ceiling: None, window: WINDOW, probe_every: PROBE_EVERY }
    }

    /// The limit never falls below this.
    ///
    /// A high floor harms no caller that needs fewer calls at once, and a low floor protects a small backend. 1 to the
    /// first limit. Default: 4, or the first limit if that is lower.
    #[must_use]
    pub const fn floor(mut self, calls: u32) -> Self {
        self.floor = Some(calls);
        self
    }

    /// The limit never rises above this.
    ///
    /// A low ceiling bounds the memory of the calls, and a high ceiling uses a large backend. The first limit to 1 000 000.
    /// Default: 1 000, or the first limit if that is higher.
    #[must_use]
    pub const fn ceiling(mut self, calls: u32) -> Self {
        self.ceiling = Some(calls);
        self
    }

    /// Decides once per window, of at least this length.
    ///
    /// A short window follows the load sooner, and a long window is less misled by chance. A window also lasts for 20
    /// measured calls, and for twice the time of a call. 10 ms to 1 min. Default: 250 ms.
    #[must_use]
    pub const fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Measures the baseline again after this time, give or take 15 %, while calls reach the limit.
    ///
    /// A probe halves the limit for some tens of calls. Frequent probes follow a backend that becomes slower, and rare
    /// probes hold fewer calls up. Three windows in a row with long times bring the probe forward. The time between probes
    /// is otherwise at least 50 times the time of a call. 1 s to 1 day. Default: 30 s.
    #[must_use]
    pub const fn probe_every(mut self, interval: Duration) -> Self {
        self.probe_every = interval;
        self
    }

    /// The lowest limit, for this first limit.
    pub(super) fn lowest(&self, first: u32) -> u32 {
        self.floor.unwrap_or(FLOOR.min(first))
    }

    /// The highest limit, for this first limit.
    pub(super) fn highest(&self, first: u32) -> u32 {
        self.ceiling.unwrap_or(CEILING.max(first))
    }

    pub(super) const fn shortest_window(&self) -> Duration {
        self.window
    }

    pub(super) const fn probe_interval(&self) -> Duration {
        self.probe_every
    }

    /// Names the first field that breaks its rule.
    pub(in crate::concurrency_limit) fn check(&self, first: u32, most: u32) -> Result<(), ConfigError> {
        let within = |number: Option<u32>, from, to| number.is_none_or(|it| (from..=to).contains(&it));
        ConfigError::check(within(self.floor, 1, first), "adaptive.floor", "must be 1 to limit")?;
        ConfigError::check(
            within(self.ceiling, first, most),
            "adaptive.ceiling",
            "must be limit to 1000000",
        )?;
        let window = (SHORTEST_WINDOW..=LONGEST_WINDOW).contains(&self.window);
        ConfigError::check(window, "adaptive.window", "must be 10ms to 1m")?;
        let probe_every = (SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&self.probe_every);
        ConfigError::check(probe_every, "adaptive.probe_every", "must be 1s to 1day")
    }
}

impl Default for AdaptiveLimitConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// Enough calls for the ratio of two times to mean something.
const FLOOR: u32 = 4;
/// As in Envoy and in Netflix's concurrency-limits.
const CEILING: u32 = 1_000;
const WINDOW: Duration = Duration::from_millis(250);
const PROBE_EVERY: Duration = Duration::from_secs(30);
const SHORTEST_WINDOW: Duration = Duration::from_millis(10);
const LONGEST_WINDOW: Duration = Duration::from_secs(60);
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_21_a_number_out_of_range_is_refused_by_its_name() {
        let new = AdaptiveLimitConfig::new;
        for (config, field) in [
            (new().floor(0), "adaptive.floor"),
            (new().floor(21), "adaptive.floor"),
            (new().ceiling(19), "adaptive.ceiling"),
            (new().ceiling(101), "adaptive.ceiling"),
            (new().window(Duration::ZERO), "adaptive.window"),
            (new().window(Duration::MAX), "adaptive.window"),
            (new().probe_every(Duration::ZERO), "adaptive.probe_every"),
            (new().probe_every(Duration::MAX), "adaptive.probe_every"),
        ] {
            assert_eq!(config.check(20, 100).map_err(|error| error.field()), Err(field), "{config:?}");
        }
        assert_eq!(new().floor(20).ceiling(20).check(20, 100), Ok(()));
        assert_eq!(new().check(1, 1), Ok(()), "the defaults yield to the limit");
    }

    #[test]
    fn the_default_bounds_yield_to_the_first_limit() {
        let config = AdaptiveLimitConfig::new();
        let bounds = |first| (config.lowest(first), config.highest(first));
        assert_eq!([bounds(1), bounds(20), bounds(5_000)], [(1, 1_000), (4, 1_000), (4, 5_000)]);
    }
}
