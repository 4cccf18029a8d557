//! The numbers of a rate limit.

use std::{num::NonZeroU32, time::Duration};

use super::{
    adaptive::{AdaptiveRateConfig, Bounds},
    rate::Rate,
};
use crate::{call::ConfigError, wait_queue::WaitQueueConfig};

/// How many calls pass in which time, and how many wait.
///
/// ```
/// use std::time::Duration;
/// use tower_reliability::rate_limit::RateLimitConfig;
///
/// const QUOTA: RateLimitConfig = RateLimitConfig::per_second(100)
///     .burst(20)
///     .window(10_000, Duration::from_secs(60 * 60))
///     .max_wait(Duration::from_secs(2));
/// let layer = QUOTA.build()?;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "super::serde::File", into = "super::serde::File")
)]
pub struct RateLimitConfig {
    pub(super) rate: Option<Span>,
    pub(super) burst: Option<u32>,
    pub(super) window: Option<Span>,
    pub(super) queue: WaitQueueConfig,
    pub(super) shadow: bool,
    pub(super) adaptive: Option<AdaptiveRateConfig>,
}

/// So many calls in such a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, expecting = "a table, such as { calls = 5, period = \"1m\" }")
)]
pub(super) struct Span {
    pub(super) calls: u32,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) period: Duration,
}

impl RateLimitConfig {
    /// Lets so many calls pass per second, by a token bucket. The same as [`per`](Self::per) a second.
    #[must_use]
    pub const fn per_second(calls: u32) -> Self {
        Self::per(calls, Duration::from_secs(1))
    }

    /// Lets so many calls pass per period, by a token bucket.
    ///
    /// The bucket refills evenly: 60 calls per minute are one call per second. A bucket that has been idle lets a
    /// [`burst`](Self::burst) pass at once. Thus in any time `t`, at most `rate × t + burst` calls pass. From one call per
    /// hour to one call per microsecond. There is no default.
    #[must_use]
    pub const fn per(calls: u32, period: Duration) -> Self {
        Self::new(Some(Span { calls, period }), None)
    }

    /// Lets at most so many calls pass in **any** span of this length, without a bucket.
    ///
    /// See [`window`](Self::window).
    #[must_use]
    pub const fn sliding_window(calls: u32, length: Duration) -> Self {
        Self::new(None, Some(Span { calls, period: length }))
    }

    const fn new(rate: Option<Span>, window: Option<Span>) -> Self {
        Self { rate, burst: None, window, queue: WaitQueueConfig::none(), shadow: false, adaptive: None }
    }

    /// Lets so many calls pass at once after an idle time.
    ///
    /// A high burst serves uneven callers, and a low burst spares the backend. A call that costs more than the burst never
    /// passes. 1 to 1 000 000 calls. Default: the calls of one [period](Self::per).
    #[must_use]
    pub const fn burst(mut self, calls: u32) -> Self {
        self.burst = Some(calls);
        self
    }

    /// Lets at most so many calls pass in **any** span of this length, besides the bucket.
    ///
    /// Use it for a quota that a contract names, such as 10 000 calls per hour: a bucket exceeds it by its burst. Up to 256
    /// calls, the window is exact. Above, it may hold a call up for 1/256 of its length too long. A window costs each call a
    /// short lock, and up to 4 KB of memory. 1 to 1 000 000 000 calls, 1 ms to 31 days. Default: no window.
    #[must_use]
    pub const fn window(mut self, calls: u32, length: Duration) -> Self {
        self.window = Some(Span { calls, period: length });
        self
    }

    /// Lets calls wait for up to so long for their turn, up to 1 000 calls at a time. In a file: `queue = { max_wait = "2s",
    /// shed = "off" }`.
    ///
    /// The same as `queue(WaitQueueConfig::new().max_wait(delay).without_shedding())`. The wait of a call is known when it
    /// arrives. So a queue refuses at once the calls that would wait too long, and needs no shedding.
    ///
    /// Above 0, at most 1 day. Default: no call waits.
    #[must_use]
    pub const fn max_wait(self, delay: Duration) -> Self {
        self.queue(WaitQueueConfig::new().max_wait(delay).without_shedding())
    }

    /// Lets calls beyond the limit wait in such a queue.
    ///
    /// Default: [`WaitQueueConfig::none`], so the limit rejects them at once and says when to come again. A server wants
    /// this, because its callers can go elsewhere. A client that keeps to the quota of a provider lets its calls wait.
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

    /// Adapts the rate to the backend, starting with the rate of this config. See [`adaptive`](super::adaptive).
    ///
    /// It needs a rate and a [classifier](super::RateLimitLayer::classify), and has no effect on a limit
    /// [per key](super::keyed). Each call that passes takes a short lock at its end. Default: the rate is fixed.
    #[must_use]
    pub const fn adaptive(mut self, config: AdaptiveRateConfig) -> Self {
        self.adaptive = Some(config);
        self
    }

    /// The longest wait, if it is not the default.
    pub(crate) fn chosen_wait(&self) -> Option<Duration> {
        let longest = self.queue.longest_wait();
        (self.may_wait() && longest != WaitQueueConfig::new().longest_wait()).then_some(longest)
    }

    /// Whether calls wait for their turn.
    pub(crate) const fn may_wait(&self) -> bool {
        !self.queue.is_none()
    }

    /// Whether the rate adapts to the backend.
    pub(crate) const fn is_adaptive(&self) -> bool {
        self.adaptive.is_some()
    }

    pub(super) fn is_shadow(&self) -> bool {
        self.shadow
    }

    /// Names the first field that breaks its rule.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let some = self.rate.is_some() || self.window.is_some();
        ConfigError::check(some, "per_second", "must be set, unless there is a window")?;
        let is_rate = |Span { calls, period }: Span| {
            let calls = u128::from(calls);
            calls > 0
                && period.as_nanos() >= calls * FASTEST.as_nanos()
                && period.as_nanos() <= calls * SLOWEST.as_nanos()
        };
        let field = if self.rate.is_some_and(|it| it.period == SECOND) { "per_second" } else { "per" };
        let rule = "must be from 1 call per hour to 1 call per microsecond";
        ConfigError::check(self.rate.is_none_or(is_rate), field, rule)?;
        let burst = self.burst.is_none_or(|burst| (1..=MAX_BURST).contains(&burst));
        ConfigError::check(burst, "burst", "must be 1 to 1000000")?;
        let with_rate = self.burst.is_none() || self.rate.is_some();
        ConfigError::check(with_rate, "burst", "needs a rate, such as `per_second`")?;
        let is_window = |Span { calls, period }| {
            (1..=MAX_WINDOW).contains(&calls) && (SHORTEST..=LONGEST).contains(&period)
        };
        let rule = "must have 1 to 1000000000 calls, and a length of 1 ms to 31 days";
        ConfigError::check(self.window.is_none_or(is_window), "window", rule)?;
        if let Some(adaptive) = self.adaptive {
            let rate = self.rate.ok_or(ConfigError::new("adaptive", "needs a rate, such as `per_second`"))?;
            adaptive.check(rate)?;
        }
        self.queue.check()
    }

    /// The longest wait. `None` if no call may wait.
    pub(crate) fn longest_wait(&self) -> Option<Duration> {
        self.may_wait().then_some(self.queue.longest_wait())
    }

    /// The rate of the bucket. The config has been checked.
    pub(super) fn bucket(&self) -> Option<Rate> {
        let Span { calls, period } = self.rate?;
        let burst = self.burst.unwrap_or(calls.min(MAX_BURST));
        Some(Rate::new(NonZeroU32::new(calls)?, period, NonZeroU32::new(burst)?))
    }

    /// The time in which the bucket fills up at this rate. The rate of the config rounds that time up, by up to 1 ns per
    /// token; this does not.
    pub(super) fn fills_in(&self, rate: Rate) -> Duration {
        let Some(Span { calls, period }) = self.rate.filter(|_| self.adaptive.is_none()) else {
            return Duration::from_nanos(rate.fill());
        };
        let nanos = period.as_nanos() * u128::from(rate.burst.get()) / u128::from(calls);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The rates between which the bucket moves, if it adapts. The config has been checked.
    pub(super) fn bounds(&self) -> Option<Bounds> {
        self.adaptive?.bounds(self.rate?, self.bucket()?.burst)
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// The interval is a whole number of nanoseconds, so a rate of this is exact to 0.1 %.
const FASTEST: Duration = Duration::from_micros(1);
/// With the highest burst, the bucket fills in a century, which fits into a word several times.
const SLOWEST: Duration = Duration::from_secs(60 * 60);
const MAX_BURST: u32 = 1_000_000;
const MAX_WINDOW: u32 = 1_000_000_000;
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(31 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_21_a_number_out_of_range_is_refused_by_its_name() {
        let new = RateLimitConfig::per_second;
        let window = RateLimitConfig::sliding_window;
        for (config, field) in [
            (new(0), "per_second"),
            (new(u32::MAX), "per_second"),
            (RateLimitConfig::per(1, Duration::ZERO), "per"),
            (RateLimitConfig::per(1, Duration::MAX), "per"),
            (RateLimitConfig::per(1, SLOWEST + Duration::from_nanos(1)), "per"),
            (new(1).burst(0), "burst"),
            (new(1).burst(u32::MAX), "burst"),
            (window(1, SECOND).burst(1), "burst"),
            (window(0, SECOND), "window"),
            (window(u32::MAX, SECOND), "window"),
            (new(1).window(1, Duration::ZERO), "window"),
            (new(1).window(1, Duration::MAX), "window"),
            (new(1).max_wait(Duration::ZERO), "queue.max_wait"),
            (RateLimitConfig::new(None, None), "per_second"),
            (window(1, SECOND).adaptive(AdaptiveRateConfig::new()), "adaptive"),
            (new(1).adaptive(AdaptiveRateConfig::new().floor(2)), "adaptive.floor"),
        ] {
            assert_eq!(config.check().map_err(|error| error.field()), Err(field), "{config:?}");
        }
        for config in [
            new(1_000_000).burst(MAX_BURST),
            RateLimitConfig::per(1, SLOWEST).burst(MAX_BURST),
            RateLimitConfig::per(u32::MAX, Duration::from_secs(24 * 60 * 60)),
            window(MAX_WINDOW, LONGEST).max_wait(SECOND).shadow(true),
        ] {
            assert_eq!(config.check(), Ok(()), "{config:?}");
        }
    }

    #[test]
    fn the_burst_is_the_calls_of_a_period_unless_it_is_set() {
        let burst = |config: RateLimitConfig| config.bucket().map(|rate| rate.burst.get());
        assert_eq!(burst(RateLimitConfig::per_second(7)), Some(7));
        assert_eq!(burst(RateLimitConfig::per_second(7).burst(2)), Some(2));
        assert_eq!(burst(RateLimitConfig::per(2_000_000, SLOWEST)), Some(MAX_BURST));
        assert_eq!(burst(RateLimitConfig::sliding_window(7, SECOND)), None);
        let fills_in = |config: RateLimitConfig| config.bucket().map(|rate| config.fills_in(rate));
        assert_eq!(fills_in(RateLimitConfig::per_second(7)), Some(SECOND));
        assert_eq!(fills_in(RateLimitConfig::per(60, 60 * SECOND).burst(7)), Some(7 * SECOND));
        let longest = RateLimitConfig::per(1, SLOWEST).burst(MAX_BURST);
        assert_eq!(fills_in(longest), Some(MAX_BURST * SLOWEST));
    }
}
