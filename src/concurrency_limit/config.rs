//! The numbers of a concurrency limit.

use std::time::Duration;

use super::adaptive::AdaptiveLimitConfig;
use crate::{call::ConfigError, wait_queue::WaitQueueConfig};

/// How many calls are in flight at once, and how many wait.
///
/// ```
/// use tower_reliability::{concurrency_limit::ConcurrencyLimitConfig, wait_queue::WaitQueueConfig};
///
/// const DATABASE: ConcurrencyLimitConfig =
///     ConcurrencyLimitConfig::new(40).queue(WaitQueueConfig::new().capacity(200));
/// let layer = DATABASE.build()?;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, expecting = "a table, such as { limit = 100 }")
)]
pub struct ConcurrencyLimitConfig {
    pub(super) limit: u32,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(super) queue: WaitQueueConfig,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(super) shadow: bool,
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub(super) adaptive: Option<AdaptiveLimitConfig>,
}

impl ConcurrencyLimitConfig {
    /// Lets so many calls be in flight at once; further calls wait.
    ///
    /// A low limit protects the backend, and a high limit uses all of it. 1 to 1 000 000 calls. There is no default.
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        Self { limit, queue: WaitQueueConfig::new(), shadow: false, adaptive: None }
    }

    /// Lets calls beyond the limit wait in such a queue. [`WaitQueueConfig::none`] rejects them at once.
    ///
    /// Default: [`WaitQueueConfig::new`].
    #[must_use]
    pub const fn queue(mut self, queue: WaitQueueConfig) -> Self {
        self.queue = queue;
        self
    }

    /// Lets every call pass, and counts the calls that the limit would have held up.
    ///
    /// It shows the effect of a limit before the limit has any. Default: off.
    #[must_use]
    pub const fn shadow(mut self, on: bool) -> Self {
        self.shadow = on;
        self
    }

    /// Learns from the times of the calls how many the backend serves at once. The limit is then the first one.
    ///
    /// An adaptive limit needs no load test, and follows a backend that becomes faster or slower. A fixed limit never
    /// holds a call up for a probe. Default: the limit is fixed.
    #[must_use]
    pub const fn adaptive(mut self, adaptive: AdaptiveLimitConfig) -> Self {
        self.adaptive = Some(adaptive);
        self
    }

    /// The number of calls that may be in flight, at first if the limit is [adaptive](Self::adaptive).
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// The longest wait, if it is not the default.
    pub(crate) fn chosen_wait(&self) -> Option<Duration> {
        let longest = self.queue.longest_wait();
        (longest != WaitQueueConfig::new().longest_wait()).then_some(longest)
    }

    /// The longest wait. `None` if no call may wait.
    pub(crate) fn longest_wait(&self) -> Option<Duration> {
        (!self.queue.is_none()).then_some(self.queue.longest_wait())
    }

    /// Names the first field that breaks its rule.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let limit = (1..=MAX_LIMIT).contains(&self.limit);
        ConfigError::check(limit, "limit", "must be 1 to 1000000")?;
        self.adaptive.map_or(Ok(()), |adaptive| adaptive.check(self.limit, MAX_LIMIT))?;
        self.queue.check()
    }
}

/// Far above the number of calls that a process has in flight, and far below the room in a word.
const MAX_LIMIT: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_21_a_number_out_of_range_is_refused_by_its_name() {
        let new = ConcurrencyLimitConfig::new;
        for (config, field) in [
            (new(0), "limit"),
            (new(u32::MAX), "limit"),
            (new(1).queue(WaitQueueConfig::new().capacity(u32::MAX)), "queue.capacity"),
            (new(1).adaptive(AdaptiveLimitConfig::new().floor(2)), "adaptive.floor"),
        ] {
            assert_eq!(config.check().map_err(|error| error.field()), Err(field), "{config:?}");
        }
        assert_eq!(new(MAX_LIMIT).queue(WaitQueueConfig::none()).shadow(true).check(), Ok(()));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_file_needs_the_limit_and_nothing_else() {
        assert_eq!(toml::from_str("limit = 7"), Ok(ConcurrencyLimitConfig::new(7)));
        let text = "limit = 7\nshadow = true\nqueue = { capacity = 3 }";
        let config = ConcurrencyLimitConfig::new(7).shadow(true).queue(WaitQueueConfig::new().capacity(3));
        assert_eq!(toml::from_str(text), Ok(config));
        assert!(toml::from_str::<ConcurrencyLimitConfig>("").is_err());
    }

    #[cfg(feature = "serde")]
    #[test]
    fn an_empty_table_makes_the_limit_adaptive() {
        let adaptive = ConcurrencyLimitConfig::new(7).adaptive(AdaptiveLimitConfig::new());
        assert_eq!(toml::from_str("limit = 7\nadaptive = {}"), Ok(adaptive));
        let numbers = AdaptiveLimitConfig::new().floor(2).ceiling(90).window(Duration::from_millis(100));
        let config = ConcurrencyLimitConfig::new(7).adaptive(numbers.probe_every(Duration::from_secs(60)));
        let text = "floor = 2\nceiling = 90\nwindow = '100ms'\nprobe_every = '1m'";
        assert_eq!(toml::from_str(&format!("limit = 7\n[adaptive]\n{text}")), Ok(config));
        for config in [adaptive, config] {
            assert_eq!(toml::from_str(&toml::to_string(&config).expect("valid")), Ok(config));
        }
        assert!(toml::from_str::<ConcurrencyLimitConfig>("limit = 7\nadaptive = { flor = 1 }").is_err());
    }
}
