//! The numbers of a whole stack, each stage optional.

use super::plan::Plan;
use crate::{
    call::ConfigError, circuit_breaker::CircuitBreakerConfig, concurrency_limit::ConcurrencyLimitConfig,
    hedge::HedgeConfig, rate_limit::RateLimitConfig, retry::RetryConfig, retry_budget::RetryBudgetConfig,
    timeout::TimeoutConfig,
};

/// The numbers of all stages of a stack, for a file.
///
/// A stage that is `None` is absent, and a call behaves as in a stack without the stage.
/// [`builder`](StackConfig::builder) takes the numbers over. Code sets the behaviour on the builder: protocol,
/// listeners, a shared budget, and the fallback, which needs its answer.
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use tower_reliability::stack::StackConfig;
///
/// let config: StackConfig = toml::from_str(r#"
///     timeout = "10s"
///     attempt_timeout = "2s"
///
///     [retry]
///     max_attempts = 3
///
///     [circuit_breaker] # an empty table: a stage with its defaults
/// "#)?;
/// let stack = config.builder().named("prices").build()?;
/// if let Some(breaker) = stack.circuit_breaker() {
///     println!("{}", breaker.state());
/// }
/// assert!(stack.hedge().is_none());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Format
///
/// With the feature `serde`, a config comes from TOML, JSON or any other format of serde. Durations are texts, such as
/// `"250ms"` or `"1m 30s"`. Unknown keys are refused. This file has all keys. Its numbers are the defaults. A key
/// marked with `off` has no default number: without the key, its rule is off.
///
/// ```
/// # #[cfg(feature = "serde")] {
/// # use tower_reliability::{circuit_breaker::CircuitBreakerConfig, hedge::HedgeConfig, retry::RetryConfig};
/// # use tower_reliability::{retry_budget::RetryBudgetConfig, stack::StackConfig, wait_queue::WaitQueueConfig};
/// # use tower_reliability::concurrency_limit::{AdaptiveLimitConfig, ConcurrencyLimitConfig};
/// # use tower_reliability::rate_limit::{RateLimitConfig, adaptive::AdaptiveRateConfig};
/// let config: StackConfig = toml::from_str(r#"
///     timeout = "30s"                # off; the whole call
///     attempt_timeout = "5s"         # off; one attempt
///
///     [rate_limit]                   # calls
///     per_second = 100               # or per = { calls = 5, period = "1m" }, or a window alone
///     burst = 100
///     window = { calls = 100000, length = "1h" } # off
///     queue = { max_wait = "1s", shed = "off" }  # off
///     shadow = false
///
///     [pacing]                       # attempts, with the keys of rate_limit
///     per_second = 50                # no default
///
///     [pacing.adaptive]              # off
///     floor = 1
///     ceiling = 50
///     decrease_factor = 0.7
///     recovery = "cubic"             # or "additive"
///     recover_within = "5s"
///     target_latency = "1s"          # off
///
///     [concurrency_limit]
///     limit = 100                    # no default
///     shadow = false
///     adaptive = { floor = 4, ceiling = 1000, window = "250ms", probe_every = "30s" } # off
///
///     [concurrency_limit.queue]
///     capacity = 1000
///     per_key = 50                   # off
///     max_wait = "1s"
///     minimum_shares = { critical = 0.0, high = 0.001, normal = 0.001, low = 0.001 }
///     shed = { above = { target = "100ms", interval = "100ms" } } # or "off"
///
///     [retry]
///     backoff = { exponential = "50ms" } # or { schedule = ["1s", "5s"] } ...
///     multiplier = 2.0
///     max_attempts = 3               # the first included
///     max_delay = "20s"
///     jitter = "full"                # or { spread = 0.1 } ...
///     max_elapsed = "25s"            # off
///     max_retry_after = "60s"
///     on = ["connection", "timeout", "rate_limit", "server"]
///     class_delays = { rate_limit = "1s" } # off
///     other_endpoints = false
///
///     [hedge]
///     after = { quantile = 0.95 }    # or { fixed = "100ms" }, "on_failure"
///     start = "500ms"
///     min_delay = "1ms"
///     max_delay = "10s"
///     max_hedges = 1
///     on = ["connection", "timeout", "rate_limit", "server"]
///     other_endpoints = true
///
///     [circuit_breaker]
///     failure_rate = 0.5             # or "off"
///     min_requests = 20
///     window = { calls = 100 }       # or { time = "10s" }
///     consecutive_failures = 10      # off
///     slow_call = { over = "1s", rate = 0.8 } # off
///     open_for = "700ms"
///     outage_ratio = 0.16666666666666666
///     open_multiplier = 1.0
///     max_open_for = "15s"
///     open_jitter = 0.2
///     backoff_decay_every = "30s"
///     max_retry_after = "60s"
///     half_open_probes = 3
///     half_open_successes = 2
///     probe_timeout = "30s"
///     ramp = "0s"
///     abandoned = "by_time"          # or "failure", "ignore"
///
///     [retry_budget]                 # of retries and hedges together
///     ratio = 0.2
///     window = "60s"
///     reserve = 10
///     health_gate = { between = [0.25, 0.5] } # or "off"
///     health_window = "2s"
/// "#)?;
/// # use std::time::Duration;
/// # use tower_reliability::ErrorClass;
/// # let (seconds, shown) = (Duration::from_secs, config);
/// # let retry = RetryConfig::new().max_elapsed(seconds(25)).class_delay(ErrorClass::RateLimit, seconds(1));
/// # let queue = WaitQueueConfig::new().per_key(50);
/// # let adaptive = AdaptiveLimitConfig::new().floor(4).ceiling(1_000);
/// # let limit = ConcurrencyLimitConfig::new(100).queue(queue).adaptive(adaptive);
/// # assert_eq!(shown.concurrency_limit, Some(limit));
/// # let rate = RateLimitConfig::per_second(100).burst(100).window(100_000, seconds(60 * 60));
/// # assert_eq!(shown.rate_limit, Some(rate.max_wait(seconds(1))));
/// # let learns = AdaptiveRateConfig::new().floor(1).ceiling(50).target_latency(seconds(1));
/// # assert_eq!(shown.pacing, Some(RateLimitConfig::per_second(50).adaptive(learns)));
/// # assert_eq!(shown.retry, Some(retry));
/// # assert_eq!(shown.hedge, Some(HedgeConfig::new()));
/// # let breaker = CircuitBreakerConfig::new().consecutive_failures(10).slow_call(seconds(1), 0.8);
/// # assert_eq!(shown.circuit_breaker, Some(breaker));
/// # assert_eq!(shown.retry_budget, Some(RetryBudgetConfig::new()));
/// # config.builder().build()?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Defaults
///
/// | key | if it is missing | if its table is empty |
/// |---|---|---|
/// | `timeout` | the whole call has no limit | |
/// | `attempt_timeout` | an attempt has no limit | |
/// | `rate_limit`, `pacing` | no limit | refused: a rate or a window has no default |
/// | `concurrency_limit` | no limit | refused: `limit` has no default |
/// | `retry` | no retry | [`RetryConfig::new`] |
/// | `hedge` | no hedge | [`HedgeConfig::new`] |
/// | `circuit_breaker` | no breaker | [`CircuitBreakerConfig::new`] |
/// | `retry_budget` | [`RetryBudgetConfig::new`] | the same |
///
/// A program with defaults of its own merges them with [`or`](Self::or).
///
/// # Errors
///
/// [`build`](super::StackBuilder::build) checks the numbers. Its error begins with the path in the file, such as
/// `retry.max_attempts must be at least 1`. Add the key of the stack in a larger file: `format!("stack.{error}")`. The
/// format's own errors name the line and the key. The crate `serde_path_to_error` adds the path.
///
/// # Hot reload
///
/// The handles of the stack take new numbers: `retry.update(config)` keeps the state of the retry. A handle knows its
/// own stage only, so check the new file as a whole with [`checked`](Self::checked) first. A new file adds or removes no
/// stage of a running stack. A handle of a stage with state per key updates all keys.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct StackConfig {
    /// The limit of the [whole call](super::StackBuilder::timeout).
    pub timeout: Option<TimeoutConfig>,
    /// The [limit on the rate of calls](super::StackBuilder::rate_limit).
    pub rate_limit: Option<RateLimitConfig>,
    /// The [limit on the calls in flight](super::StackBuilder::concurrency_limit).
    pub concurrency_limit: Option<ConcurrencyLimitConfig>,
    /// The [retry](super::StackBuilder::retry).
    pub retry: Option<RetryConfig>,
    /// The [hedge](super::StackBuilder::hedge).
    pub hedge: Option<HedgeConfig>,
    /// The [limit on the rate of attempts](super::StackBuilder::pacing).
    pub pacing: Option<RateLimitConfig>,
    /// The [circuit breaker](super::StackBuilder::circuit_breaker).
    pub circuit_breaker: Option<CircuitBreakerConfig>,
    /// The limit of [one attempt](super::StackBuilder::attempt_timeout).
    pub attempt_timeout: Option<TimeoutConfig>,
    /// The numbers of the stack's own [budget](super::StackBuilder::retry_budget).
    pub retry_budget: Option<RetryBudgetConfig>,
}

impl StackConfig {
    /// The stages of this config, and the stages of `defaults` that this config leaves out.
    ///
    /// Mark the limits in `defaults` as [`yielding`](TimeoutConfig::yielding). They then adapt to the chosen numbers.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_reliability::{retry::RetryConfig, stack::StackConfig, timeout::TimeoutConfig};
    ///
    /// let seconds = |seconds| TimeoutConfig::new(Duration::from_secs(seconds));
    /// let mut defaults = StackConfig::default();
    /// defaults.timeout = Some(seconds(30).yielding());
    /// defaults.attempt_timeout = Some(seconds(5).yielding());
    /// defaults.retry = Some(RetryConfig::new());
    ///
    /// let mut file = StackConfig::default();
    /// file.timeout = Some(seconds(1));
    /// let stack = file.or(defaults).builder().build()?;
    /// let attempt = stack.attempt_timeout().map(|timeout| timeout.limit());
    /// assert_eq!(attempt, Some(Duration::from_secs(1)));
    /// # Ok::<(), tower_reliability::ConfigError>(())
    /// ```
    #[must_use]
    pub fn or(self, defaults: Self) -> Self {
        Self {
            timeout: self.timeout.or(defaults.timeout),
            rate_limit: self.rate_limit.or(defaults.rate_limit),
            concurrency_limit: self.concurrency_limit.or(defaults.concurrency_limit),
            retry: self.retry.or(defaults.retry),
            hedge: self.hedge.or(defaults.hedge),
            pacing: self.pacing.or(defaults.pacing),
            circuit_breaker: self.circuit_breaker.or(defaults.circuit_breaker),
            attempt_timeout: self.attempt_timeout.or(defaults.attempt_timeout),
            retry_budget: self.retry_budget.or(defaults.retry_budget),
        }
    }

    /// Checks all numbers, each stage by itself and all of them together, as
    /// [`build`](super::StackBuilder::build) does. Returns the numbers that the stack would have: the default limits
    /// have adapted to the chosen numbers.
    ///
    /// # Errors
    ///
    /// Names the first number that breaks its rule.
    pub fn checked(self) -> Result<Self, ConfigError> {
        let Self {
            timeout,
            rate_limit,
            concurrency_limit,
            retry,
            hedge,
            pacing,
            circuit_breaker,
            attempt_timeout,
            retry_budget,
        } = self;
        retry_budget.unwrap_or_default().check().map_err(|error| error.within("retry_budget"))?;
        let plan = Plan {
            timeout,
            rate_limit,
            concurrency_limit,
            retry,
            hedge,
            pacing,
            circuit_breaker,
            attempt_timeout,
            ..Plan::default()
        }
        .checked()?;
        // The plan adapts limits and the probe's timeout, and no other number.
        let Plan { timeout, circuit_breaker, attempt_timeout, .. } = plan;
        Ok(Self { timeout, circuit_breaker, attempt_timeout, ..self })
    }
}
