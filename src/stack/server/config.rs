//! The numbers of a server stack, each stage optional.

use super::plan::ServerPlan;
use crate::{
    call::ConfigError, concurrency_limit::ConcurrencyLimitConfig, drain::DrainConfig,
    rate_limit::RateLimitConfig, timeout::TimeoutConfig,
};

/// The numbers of all stages of a [`ServerStack`](super::ServerStack), for a file.
///
/// A stage that is `None` is absent, and a request passes as in a stack without the stage. `http::server_from` and
/// `grpc::server_from` take the numbers over. Code sets the behaviour on the builder: priorities, deadlines, listeners.
///
/// ```
/// # #[cfg(all(feature = "http", feature = "serde"))] {
/// use tower_reliability::{http, stack::server::ServerConfig};
///
/// let config: ServerConfig = toml::from_str(r#"
///     timeout = "5s"
///
///     [drain] # an empty table: a stage with its defaults
///
///     [rate_limit]
///     per_second = 100
///
///     [concurrency_limit]
///     limit = 40
///     queue = { max_wait = "500ms" }
/// "#)?;
/// let server = http::server_from(config).named("shop").build()?;
/// assert!(server.drain().is_some());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The page of each config has all keys of its table: [`DrainConfig`], [`RateLimitConfig`],
/// [`ConcurrencyLimitConfig`]. Unknown keys are refused. A rate limit per client sets the stage again:
/// `http::server_from(config).rate_limit(config.rate_limit.map(|limit| limit.per_header(API_KEY)))`.
///
/// # Defaults
///
/// | key | if it is missing | if its table is empty |
/// |---|---|---|
/// | `drain` | no drain | [`DrainConfig::new`] |
/// | `rate_limit` | no limit | refused: the rate has no default |
/// | `concurrency_limit` | no limit | refused: `limit` has no default |
/// | `timeout` | a handler has no limit | |
///
/// # Errors
///
/// [`build`](super::ServerBuilder::build) checks the numbers. Its error begins with the path in the file, such as
/// `concurrency_limit.limit must be 1 to 1000000`.
///
/// # Hot reload
///
/// The handles of the stack take new numbers and keep the state of their stage. A handle knows its own stage only, so
/// check the new file as a whole with [`checked`](Self::checked) first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The [drain](super::ServerBuilder::drain).
    pub drain: Option<DrainConfig>,
    /// The [limit on the requests per second](super::ServerBuilder::rate_limit).
    pub rate_limit: Option<RateLimitConfig>,
    /// The [limit on the requests in flight](super::ServerBuilder::concurrency_limit).
    pub concurrency_limit: Option<ConcurrencyLimitConfig>,
    /// The limit of the [handler](super::ServerBuilder::timeout).
    pub timeout: Option<TimeoutConfig>,
}

impl ServerConfig {
    /// Checks all numbers, each stage by itself and all of them together, as
    /// [`build`](super::ServerBuilder::build) does. Returns the numbers that the stack would have: defaults have adapted
    /// to the chosen numbers.
    ///
    /// # Errors
    ///
    /// Names the first number that breaks its rule.
    pub fn checked(self) -> Result<Self, ConfigError> {
        let Self { drain, rate_limit, concurrency_limit, timeout } = self;
        let plan = ServerPlan { drain, rate_limit, concurrency_limit, timeout, is_rate_keyed: false };
        let ServerPlan { drain, timeout, .. } = plan.checked()?;
        // The plan adapts the drain and the timeout, and no other number.
        Ok(Self { drain, timeout, ..self })
    }
}
