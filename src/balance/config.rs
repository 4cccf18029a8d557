//! The numbers of a balancer.

use std::time::Duration;

use crate::call::ConfigError;

/// How a balancer picks an endpoint, and how it treats endpoints that are new or fail.
///
/// ```
/// use std::time::Duration;
/// use tower_reliability::balance::{BalanceConfig, BuiltIn, OutlierConfig};
///
/// const SEARCH: BalanceConfig = BalanceConfig::new()
///     .strategy(BuiltIn::LeastConnections)
///     .slow_start(Duration::from_secs(30))
///     .outliers(OutlierConfig::new().consecutive_failures(3));
/// let builder = SEARCH.build()?;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, expecting = "a table, such as { strategy = \"peak_ewma\" }")
)]
pub struct BalanceConfig {
    pub(super) strategy: BuiltIn,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) decay: Duration,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) failure_penalty: Duration,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) max_retry_after: Duration,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) slow_start: Duration,
    pub(super) slow_start_aggression: f64,
    pub(super) panic_threshold: f64,
    pub(super) max_tries: u32,
    pub(super) outliers: OutlierConfig,
}

/// The strategies of this crate. [`Strategy`](super::Strategy) is the trait for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum BuiltIn {
    /// Picks two endpoints at random, and takes the one with the lower product of latency and calls in flight. The
    /// latency jumps to a peak at once and then decays. A failure counts as a long latency, so an endpoint that fails
    /// fast gets no calls. The default.
    #[default]
    PeakEwma,
    /// Picks two endpoints at random, and takes the one with fewer calls in flight per weight.
    LeastConnections,
    /// Picks the endpoint with the fewest calls in flight per weight. A pick looks at every endpoint, so this is for
    /// small sets.
    LeastConnectionsOfAll,
    /// Picks one endpoint after the other, whatever their weights.
    RoundRobin,
    /// Picks one endpoint after the other, and the heavier ones more often. Weights with a short period give nginx's smooth
    /// order, and others gRPC's static stride.
    WeightedRoundRobin,
    /// Picks any endpoint, each as likely as its weight says.
    Random,
}

/// When a balancer ejects an endpoint, by the results of the calls that it got. 0 turns a rule off.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, expecting = "a table, such as { consecutive_failures = 3 }")
)]
pub struct OutlierConfig {
    pub(super) consecutive_failures: u32,
    pub(super) success_gap: f64,
    pub(super) latency_ratio: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) interval: Duration,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) eject_for: Duration,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) max_eject_for: Duration,
    pub(super) max_ejected: f64,
}

impl BalanceConfig {
    /// With the defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            strategy: BuiltIn::PeakEwma,
            decay: Duration::from_secs(10),
            failure_penalty: Duration::from_secs(5),
            max_retry_after: Duration::from_secs(60),
            slow_start: Duration::from_secs(10),
            slow_start_aggression: 1.0,
            panic_threshold: 0.5,
            max_tries: 5,
            outliers: OutlierConfig::new(),
        }
    }

    /// Picks endpoints in this way. Default: [`PeakEwma`](BuiltIn::PeakEwma).
    #[must_use]
    pub const fn strategy(mut self, strategy: BuiltIn) -> Self {
        self.strategy = strategy;
        self
    }

    /// The time in which a latency decays to 37 %, for [`PeakEwma`](BuiltIn::PeakEwma).
    ///
    /// A long time keeps calls away from an endpoint that was slow once. A short one tries it again sooner. 1 ms to
    /// 1 day. Default: 10 s.
    #[must_use]
    pub const fn decay(mut self, decay: Duration) -> Self {
        self.decay = decay;
        self
    }

    /// A failure counts as a latency of this length, for [`PeakEwma`](BuiltIn::PeakEwma).
    ///
    /// Without it, an endpoint that fails at once looks like the fastest one. At most 1 h. Default: 5 s.
    #[must_use]
    pub const fn failure_penalty(mut self, latency: Duration) -> Self {
        self.failure_penalty = latency;
        self
    }

    /// The longest time for which a `Retry-After` keeps calls away from the endpoint that gave it.
    ///
    /// While every endpoint has asked for a pause, calls go to them nevertheless. At most 1 day. Default: 60 s.
    #[must_use]
    pub const fn max_retry_after(mut self, limit: Duration) -> Self {
        self.max_retry_after = limit;
        self
    }

    /// The time in which an endpoint that is new or was ejected rises to its full share of the calls.
    ///
    /// A long time lets caches and connections grow. A short one relieves the other endpoints sooner. The endpoints that
    /// the balancer begins with have their full share at once. 0 turns slow start off. At most 1 day. Default: 10 s.
    #[must_use]
    pub const fn slow_start(mut self, window: Duration) -> Self {
        self.slow_start = window;
        self
    }

    /// The shape of the slow start: the share grows with the time to the power of `1 / aggression`.
    ///
    /// Above 1 the share rises soon, and below 1 late. 0.1 to 10. Default: 1, a straight line.
    #[must_use]
    pub const fn slow_start_aggression(mut self, aggression: f64) -> Self {
        self.slow_start_aggression = aggression;
        self
    }

    /// Below this ratio of healthy endpoints, the balancer uses all of them.
    ///
    /// So few endpoints would not carry all calls, and the fault is then more likely in the network or in the requests.
    /// 0 never uses an unhealthy endpoint: without a healthy one, each call is rejected with
    /// [`NoHealthyEndpoint`](crate::Reason::NoHealthyEndpoint). 0 to 1. Default: 0.5.
    #[must_use]
    pub const fn panic_threshold(mut self, ratio: f64) -> Self {
        self.panic_threshold = ratio;
        self
    }

    /// The most endpoints that one call asks whether they are ready.
    ///
    /// A call goes to the first that is. If none is, the call waits for the first of them. Each further endpoint costs a
    /// clone of its service. At least 1. Default: 5.
    #[must_use]
    pub const fn max_tries(mut self, endpoints: u32) -> Self {
        self.max_tries = endpoints;
        self
    }

    /// Ejects endpoints by these rules. Default: [`OutlierConfig::new`].
    #[must_use]
    pub const fn outliers(mut self, rules: OutlierConfig) -> Self {
        self.outliers = rules;
        self
    }

    /// Names the first field that breaks its rule.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let ratio = |it: f64| (0.0..=1.0).contains(&it);
        let rules = self.outliers;
        let checks = [
            ((MILLI..=DAY).contains(&self.decay), "decay", "must be at least 1 ms and at most 1 day"),
            (self.failure_penalty <= HOUR, "failure_penalty", "must be at most 1 h"),
            (self.max_retry_after <= DAY, "max_retry_after", "must be at most 1 day"),
            (self.slow_start <= DAY, "slow_start", "must be at most 1 day"),
            (
                (0.1..=10.0).contains(&self.slow_start_aggression),
                "slow_start_aggression",
                "must be at least 0.1 and at most 10",
            ),
            (ratio(self.panic_threshold), "panic_threshold", "must be at least 0 and at most 1"),
            (self.max_tries >= 1, "max_tries", "must be at least 1"),
            (ratio(rules.success_gap), "outliers.success_gap", "must be at least 0 and at most 1"),
            (
                rules.latency_ratio == 0.0 || (1.0..=1e6).contains(&rules.latency_ratio),
                "outliers.latency_ratio",
                "must be 0, or at least 1 and at most 1000000",
            ),
            (
                (TENTH..=DAY).contains(&rules.interval),
                "outliers.interval",
                "must be at least 100 ms and at most 1 day",
            ),
            (
                (MILLI..=DAY).contains(&rules.eject_for),
                "outliers.eject_for",
                "must be at least 1 ms and at most 1 day",
            ),
            (
                rules.eject_for <= rules.max_eject_for,
                "outliers.max_eject_for",
                "must be at least `eject_for`",
            ),
            (ratio(rules.max_ejected), "outliers.max_ejected", "must be at least 0 and at most 1"),
        ];
        checks.into_iter().try_for_each(|(holds, field, rule)| ConfigError::check(holds, field, rule))
    }
}

impl OutlierConfig {
    /// With the defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            consecutive_failures: 5,
            success_gap: 0.05,
            latency_ratio: 3.0,
            interval: Duration::from_secs(10),
            eject_for: Duration::from_secs(30),
            max_eject_for: Duration::from_secs(300),
            max_ejected: 0.5,
        }
    }

    /// Without any rule: no endpoint is ejected.
    #[must_use]
    pub const fn off() -> Self {
        Self { consecutive_failures: 0, success_gap: 0.0, latency_ratio: 0.0, ..Self::new() }
    }

    /// Ejects an endpoint after so many failures in a row. Default: 5.
    ///
    /// It finds a dead endpoint soon. A low number also ejects an endpoint by chance.
    #[must_use]
    pub const fn consecutive_failures(mut self, failures: u32) -> Self {
        self.consecutive_failures = failures;
        self
    }

    /// Ejects an endpoint whose success rate is by so much lower than that of all others together.
    ///
    /// The difference must also be significant: with few calls, only a large difference is. A small gap ejects an
    /// endpoint that is hardly worse. 0 to 1. Default: 0.05, that is five points.
    #[must_use]
    pub const fn success_gap(mut self, gap: f64) -> Self {
        self.success_gap = gap;
        self
    }

    /// Ejects an endpoint whose typical latency is so many times that of all others together.
    ///
    /// The typical latency is the geometric mean, which a few slow calls hardly move. Both sides need 50 calls. 0, or at
    /// least 1. Default: 3.
    #[must_use]
    pub const fn latency_ratio(mut self, ratio: f64) -> Self {
        self.latency_ratio = ratio;
        self
    }

    /// How often success rates and latencies are compared: with the calls since the last time. Default: 10 s.
    ///
    /// A long interval has more calls, and so finds smaller differences, but later. 100 ms to 1 day.
    #[must_use]
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How long an endpoint is ejected for the first time. The n-th time in a row takes n times as long. Default: 30 s.
    ///
    /// Each interval without an ejection takes one of these times back. 1 ms to 1 day.
    #[must_use]
    pub const fn eject_for(mut self, time: Duration) -> Self {
        self.eject_for = time;
        self
    }

    /// The longest ejection. At least [`eject_for`](Self::eject_for). Default: 300 s.
    #[must_use]
    pub const fn max_eject_for(mut self, time: Duration) -> Self {
        self.max_eject_for = time;
        self
    }

    /// While this share of the endpoints is ejected, no further one is. The last endpoint always stays. Default: 0.5.
    #[must_use]
    pub const fn max_ejected(mut self, share: f64) -> Self {
        self.max_ejected = share;
        self
    }

    /// Whether a rule compares endpoints.
    pub(super) const fn compares(&self) -> bool {
        self.success_gap > 0.0 || self.latency_ratio > 0.0
    }
}

impl Default for BalanceConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for OutlierConfig {
    fn default() -> Self {
        Self::new()
    }
}

const MILLI: Duration = Duration::from_millis(1);
const TENTH: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests;
