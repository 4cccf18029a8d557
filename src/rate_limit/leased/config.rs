//! The numbers of a leased limit.

use std::{num::NonZeroU32, time::Duration};

use crate::{
    call::ConfigError,
    rate_limit::{config::RateLimitConfig, rate::Rate},
};

/// A rate limit that several instances share, and the share that each of them may hold.
///
/// ```
/// use std::time::Duration;
/// use tower_reliability::rate_limit::{
///     RateLimitConfig,
///     leased::{AfterGrace, LeasedRateLimitConfig, MemoryQuota},
/// };
///
/// const QUOTA: LeasedRateLimitConfig = RateLimitConfig::per_second(1_000)
///     .leased()
///     .instances(8)
///     .after_grace(AfterGrace::Closed);
/// let layer = QUOTA.build("prices", MemoryQuota::new())?;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, expecting = "a table, such as { limit = { per_second = 100 } }")
)]
pub struct LeasedRateLimitConfig {
    limit: RateLimitConfig,
    #[cfg_attr(feature = "serde", serde(default = "instances"))]
    instances: u32,
    #[cfg_attr(feature = "serde", serde(default = "timeout", with = "crate::call::duration"))]
    timeout: Duration,
    #[cfg_attr(feature = "serde", serde(default = "grace", with = "crate::call::duration"))]
    grace: Duration,
    #[cfg_attr(feature = "serde", serde(default))]
    after_grace: AfterGrace,
}

/// The fate of calls once the source has been lost for longer than the [grace](LeasedRateLimitConfig::grace).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum AfterGrace {
    /// Every call passes. The default: the loss of a store is no reason to reject calls.
    #[default]
    Open,
    /// No call passes. For a quota that must not be exceeded.
    Closed,
}

/// The numbers by which an instance spends its lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    /// The rate of all instances together, and the units that the source holds for them.
    pub(super) source: Rate,
    /// The units that an instance holds.
    pub(super) lease: u32,
    /// No call that costs more ever passes.
    pub(super) most: u32,
    pub(super) instances: u32,
    pub(super) grace: Duration,
    pub(super) after_grace: AfterGrace,
    pub(super) is_shadow: bool,
}

impl RateLimitConfig {
    /// Makes this the limit of several instances together. Each spends leases from a source that all share.
    ///
    /// See [`leased`](super).
    #[must_use]
    pub const fn leased(self) -> LeasedRateLimitConfig {
        LeasedRateLimitConfig {
            limit: self,
            instances: INSTANCES,
            timeout: TIMEOUT,
            grace: GRACE,
            after_grace: AfterGrace::Open,
        }
    }
}

impl LeasedRateLimitConfig {
    /// Plans for so many instances.
    ///
    /// Half of the burst is for leases: each instance may hold an equal part of it twice. So up to this number, all
    /// instances together stay within the limit. Each further instance may exceed it by the burst, divided by twice this
    /// number. A high number makes leases small, and an instance asks more often. 1 to 10 000. Default: 4.
    #[must_use]
    pub const fn instances(mut self, instances: u32) -> Self {
        self.instances = instances;
        self
    }

    /// Gives the source up after so long without an answer.
    ///
    /// No call waits for it. A short timeout notices a lost source early, and a long one lets a slow source answer.
    /// 1 ms to 10 s. Default: 250 ms.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Lets each instance go on with its share for so long while the source is lost.
    ///
    /// The share is half of the rate at which the instance got units from the source, and half of an equal part of the
    /// limit. So all instances together stay at the limit. At most 31 days. Default: 1 min.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Decides on calls after the [grace](Self::grace). Default: [`AfterGrace::Open`].
    #[must_use]
    pub const fn after_grace(mut self, after_grace: AfterGrace) -> Self {
        self.after_grace = after_grace;
        self
    }

    /// Names the first field that breaks its rule.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.limit.check()?;
        ConfigError::check(self.limit.window.is_none(), "window", "must be absent: a leased limit has none")?;
        ConfigError::check(self.limit.queue.is_none(), "queue", "must be absent: no call waits for a lease")?;
        let instances = (1..=MAX_INSTANCES).contains(&self.instances);
        ConfigError::check(instances, "instances", "must be 1 to 10000")?;
        let timeout = (SHORTEST..=LONGEST).contains(&self.timeout);
        ConfigError::check(timeout, "timeout", "must be 1 ms to 10 s")?;
        ConfigError::check(self.grace <= LONGEST_GRACE, "grace", "must be at most 31 days")
    }

    pub(super) const fn source_timeout(&self) -> Duration {
        self.timeout
    }

    /// The config has been checked.
    pub(super) fn numbers(&self) -> Numbers {
        let whole = self.limit.bucket().expect("a checked limit without a window has a rate");
        let most = whole.burst.get();
        let of_leases = most / 2;
        let of_source = NonZeroU32::new(most - of_leases).unwrap_or(NonZeroU32::MIN);
        Numbers {
            source: Rate { burst: of_source, ..whole },
            lease: (of_leases / 2 / self.instances).max(1),
            most,
            instances: self.instances,
            grace: self.grace,
            after_grace: self.after_grace,
            is_shadow: self.limit.is_shadow(),
        }
    }
}

#[cfg(feature = "serde")]
const fn instances() -> u32 {
    INSTANCES
}

#[cfg(feature = "serde")]
const fn timeout() -> Duration {
    TIMEOUT
}

#[cfg(feature = "serde")]
const fn grace() -> Duration {
    GRACE
}

const INSTANCES: u32 = 4;
const TIMEOUT: Duration = Duration::from_millis(250);
const GRACE: Duration = Duration::from_secs(60);
const MAX_INSTANCES: u32 = 10_000;
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(10);
const LONGEST_GRACE: Duration = Duration::from_secs(31 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_21_a_number_out_of_range_is_refused_by_its_name() {
        let new = || RateLimitConfig::per_second(100).leased();
        let second = Duration::from_secs(1);
        for (config, field) in [
            (RateLimitConfig::per_second(0).leased(), "per_second"),
            (RateLimitConfig::sliding_window(1, second).leased(), "window"),
            (RateLimitConfig::per_second(1).max_wait(second).leased(), "queue"),
            (new().instances(0), "instances"),
            (new().instances(u32::MAX), "instances"),
            (new().timeout(Duration::ZERO), "timeout"),
            (new().timeout(Duration::MAX), "timeout"),
            (new().grace(Duration::MAX), "grace"),
        ] {
            assert_eq!(config.check().map_err(|error| error.field()), Err(field), "{config:?}");
        }
        assert_eq!(new().instances(MAX_INSTANCES).grace(Duration::ZERO).check(), Ok(()));
    }

    #[test]
    fn the_parts_of_the_source_and_of_the_instances_make_up_the_burst() {
        for burst in 1..300 {
            for instances in 1..20 {
                let config = RateLimitConfig::per_second(100).burst(burst).leased().instances(instances);
                let Numbers { source, lease, most, .. } = config.numbers();
                let all = source.burst.get() + 2 * instances * lease;
                assert!(burst < 4 * instances || all <= burst, "{burst}, {instances}: {all}");
                assert_eq!(most, burst);
            }
        }
    }
}
