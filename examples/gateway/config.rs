//! The config file: its keys, and the rules between its parts. `StackConfig` has the numbers of the protections.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Deserialize;
use tower_reliability::{
    ConfigError, Priority, circuit_breaker::CircuitBreakerConfig, concurrency_limit::ConcurrencyLimitConfig,
    rate_limit::RateLimitConfig, retry::RetryConfig, stack::StackConfig, timeout::TimeoutConfig,
};

use crate::{
    clients::ClientsConfig,
    listen::Addresses,
    origin::{Origin, Origins},
    routes::{self, Route},
};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) listen: Addresses,
    /// The time that open requests have to finish after a signal to stop.
    #[serde(default = "defaults::drain", with = "humantime_serde")]
    pub(crate) drain: Duration,
    /// The time from the signal on in which the gateway serves as before, and says that it is about to stop.
    #[serde(default, with = "humantime_serde")]
    pub(crate) drain_delay: Duration,
    #[serde(default)]
    pub(crate) clients: ClientsConfig,
    /// Limits the rate of the requests to the whole gateway.
    #[serde(default)]
    pub(crate) rate_limit: Option<RateLimitConfig>,
    /// Limits the requests in flight in the whole gateway.
    #[serde(default)]
    pub(crate) concurrency_limit: Option<ConcurrencyLimitConfig>,
    pub(crate) routes: Vec<Route>,
    pub(crate) upstreams: BTreeMap<String, UpstreamConfig>,
}

/// One upstream. A missing key has its default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpstreamConfig {
    pub(crate) url: Origins,
    /// The server that answers a request if the upstream does not.
    #[serde(default)]
    pub(crate) fallback: Option<Origin>,
    /// The `Host` that the upstream sees.
    #[serde(default)]
    pub(crate) host: HostHeader,
    /// Without protection the upstream has a plain reverse proxy, for the comparison in the demo.
    #[serde(default = "defaults::protected")]
    pub(crate) protected: bool,
    /// The longest silence of a client that uploads a request body.
    #[serde(default = "defaults::body_read_timeout", with = "humantime_serde")]
    pub(crate) body_read_timeout: Duration,
    /// Limits the rate of the requests to all of its servers together.
    #[serde(default)]
    pub(crate) rate_limit: Option<RateLimitConfig>,
    /// Limits the requests in flight at all of its servers together.
    #[serde(default)]
    pub(crate) concurrency_limit: Option<ConcurrencyLimitConfig>,
    /// The numbers of the protections, as the file has them.
    #[serde(default)]
    pub(crate) stack: StackConfig,
}

/// The `Host` of a request to an upstream.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HostHeader {
    /// The address of the server.
    #[default]
    Rewrite,
    /// The host that the client asked for.
    Preserve,
}

/// A key of a config, and the rule that it breaks.
#[derive(Debug)]
pub(crate) struct BadConfig {
    key: String,
    rule: String,
}

impl Config {
    /// Reads and checks the text of a config file.
    pub(crate) fn parse(text: &str) -> Result<Self, BadConfig> {
        let document = toml::Deserializer::parse(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = 1 + before.unwrap_or(text).matches('\n').count();
            BadConfig::new(format!("line {line}"), error.message())
        })?;
        let config: Self = serde_path_to_error::deserialize(document)
            .map_err(|error| BadConfig::new(error.path().to_string(), error.inner().message()))?;
        config.check()?;
        Ok(config)
    }

    /// Checks the rules between the parts of the file, which serde cannot see.
    fn check(&self) -> Result<(), BadConfig> {
        let refuse = |key: &str, rule: &str| Err(BadConfig::new(key, rule));
        if self.drain.is_zero() {
            return refuse("drain", "must be above 0, or every stop cuts requests off");
        }
        self.clients.check()?;
        for (name, config) in &self.upstreams {
            if config.stack.concurrency_limit.is_some() {
                // In the stack, it would know no priorities, and end with the head of an answer.
                let rule = format!("belongs to the upstream: upstreams.{name}.concurrency_limit");
                return refuse(&format!("upstreams.{name}.stack.concurrency_limit"), &rule);
            }
            for (limit, key) in [(config.stack.rate_limit, "rate_limit"), (config.stack.pacing, "pacing")] {
                if limit.is_some() {
                    return refuse(&format!("upstreams.{name}.stack.{key}"), "has no effect in a gateway");
                }
            }
            // The numbers of a config are private; its file is not. The crate allows up to ten retries per request,
            // which is right for a client with a few calls and never for a gateway.
            let budget = serde_json::to_value(config.stack.retry_budget).unwrap_or_default();
            if budget["ratio"].as_f64().is_some_and(|ratio| ratio > 1.0) {
                return refuse(&format!("upstreams.{name}.stack.retry_budget.ratio"), "must be at most 1");
            }
        }
        routes::check(&self.routes, &self.upstreams)
    }
}

/// One route on a line, with its servers.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Route { prefix, upstream, priority } in &self.routes {
            write!(f, "  {prefix} -> {upstream}:")?;
            let Some(config) = self.upstreams.get(upstream) else { continue };
            config.url.iter().try_for_each(|origin| write!(f, " http://{}", origin.authority()))?;
            if let Some(origin) = &config.fallback {
                write!(f, ", fallback http://{}", origin.authority())?;
            }
            if *priority != Priority::default() {
                write!(f, ", priority {}", format!("{priority:?}").to_ascii_lowercase())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl UpstreamConfig {
    /// The numbers of the protections, with the defaults of the gateway, checked together.
    pub(crate) fn numbers(&self) -> Result<StackConfig, ConfigError> {
        self.stack.or(defaults::stack()).checked()
    }
}

impl BadConfig {
    pub(crate) fn new(key: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { key: key.into(), rule: rule.into() }
    }

    /// A number that the limit with this key refuses.
    pub(crate) fn limit(key: &str, error: &ConfigError) -> Self {
        Self::new(format!("{key}.{}", error.field()), error.rule())
    }

    /// A number that the upstream's stack refuses.
    pub(crate) fn upstream(name: &str, error: &ConfigError) -> Self {
        let stage = error.stage().map_or(String::new(), |stage| format!("{stage}."));
        Self::new(format!("upstreams.{name}.stack.{stage}{}", error.field()), error.rule())
    }
}

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            // serde's path of the whole file.
            "." => f.write_str(&self.rule),
            key => write!(f, "{key}: {}", self.rule),
        }
    }
}

mod defaults {
    use super::{CircuitBreakerConfig, Duration, RetryConfig, StackConfig, TimeoutConfig};

    pub(super) const fn drain() -> Duration {
        Duration::from_secs(10)
    }

    pub(super) const fn protected() -> bool {
        true
    }

    pub(super) const fn body_read_timeout() -> Duration {
        Duration::from_secs(30)
    }

    /// A missing hedge stays off, and a missing budget has the stack's numbers.
    pub(super) fn stack() -> StackConfig {
        let mut stack = StackConfig::default();
        stack.timeout = Some(TimeoutConfig::new(Duration::from_secs(30)).yielding());
        stack.retry = Some(RetryConfig::new());
        stack.circuit_breaker = Some(CircuitBreakerConfig::new());
        stack.attempt_timeout = Some(TimeoutConfig::new(Duration::from_secs(5)).yielding());
        stack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: &str = "routes = [{ prefix = '/', upstream = 'a' }]";

    fn complaint(lines: &str) -> String {
        let text = format!("listen = '127.0.0.1:0'\n{lines}");
        Config::parse(&text).expect_err(lines).to_string()
    }

    /// The complaint about a file with these lines in its only upstream.
    fn about_upstream(lines: &str) -> String {
        complaint(&format!("{ROUTE}\n[upstreams.a]\n{lines}"))
    }

    #[test]
    fn a_missing_key_has_its_default() {
        let text = format!("listen = 'localhost:0'\n{ROUTE}\n[upstreams.a]\nurl = 'http://a'");
        let config = Config::parse(&text).expect("it is right");
        assert_eq!(config.drain, Duration::from_secs(10));
        let numbers = config.upstreams["a"].numbers().expect("the defaults go together");
        assert_eq!(numbers.circuit_breaker, Some(CircuitBreakerConfig::new()));
        assert_eq!(numbers.hedge, None);
    }

    #[test]
    fn a_default_limit_yields_to_the_numbers_of_the_file() {
        let limits = |lines| {
            let text = format!("listen = 'localhost:0'\n{ROUTE}\n[upstreams.a]\nurl = 'http://a'\n{lines}");
            let config = Config::parse(&text).expect("it is right");
            let numbers = config.upstreams["a"].numbers().expect("the defaults yield");
            [numbers.timeout, numbers.attempt_timeout].map(|limit| limit.map(|it| it.limit().as_secs()))
        };
        assert_eq!(limits(""), [Some(30), Some(5)]);
        assert_eq!(limits("stack.timeout = '1s'"), [Some(1), Some(1)]);
        assert_eq!(limits("stack.attempt_timeout = '40s'"), [Some(40), Some(40)]);
    }

    #[test]
    fn a_complaint_names_the_key_and_the_rule() {
        for (lines, expected) in [
            ("url = 'https://a'", "upstreams.a.url: must be http://host"),
            ("url = 'http://me:secret@a'", "upstreams.a.url: must be http://host"),
            ("url = 'http://a/b'", "upstreams.a.url: must be http://host"),
            ("url = ['http://a', 'b']", "upstreams.a.url[1]: must be http://host"),
            ("url = ['http://a', 'http://A:80']", "upstreams.a.url: is given twice: http://A:80"),
            ("url = []", "upstreams.a.url: must name at least one server"),
            ("", "upstreams.a: missing field `url`"),
            ("timout = '1s'", "upstreams.a.timout: unknown field `timout`"),
            ("stack.timeout = 'soon'", "upstreams.a.stack.timeout: invalid value"),
            (
                "url = 'http://a'\nstack.circuit_breaker.failure_rat = 1.5",
                "upstreams.a.stack.circuit_breaker.failure_rat: unknown field `failure_rat`",
            ),
            ("url = 'http://a'\nstack.hedge.after.quantil = 0.9", "upstreams.a.stack.hedge.after"),
            ("url = 1\nurl = 2", "line 5: duplicate key"),
        ] {
            let complaint = about_upstream(lines);
            assert!(complaint.starts_with(expected), "{complaint}");
        }
    }

    #[test]
    fn a_number_that_makes_no_sense_is_refused() {
        for (lines, expected) in [
            ("drain = '0s'", "drain: must be above 0"),
            ("clients.send_timeout = '0s'", "clients.send_timeout: must be above 0"),
            ("clients.trust = ['10.0.0.0/33']", "clients.trust[0]: must be an address, or a network"),
            ("clients.colour = 1", "clients.colour: unknown field"),
            ("clients.key.header = 'a b'", "clients.key.header: is not the name of a header"),
            ("clients.priority_header = 'all'", "clients.priority_header: unknown variant `all`"),
            ("concurrency_limit = {}", "concurrency_limit: missing field `limit`"),
            ("rate_limit = { burst = 1 }", "rate_limit: a rate limit needs `per_second`, `per` or `window`"),
            ("clients.rate_limit.per_minute = 1", "clients.rate_limit.per_minute: unknown field"),
            (
                "clients.rate_limit = { per_second = 1, queue = { max_wait = '1s' } }",
                "clients.rate_limit.queue: has no effect",
            ),
            ("clients.max_keys = 0", "clients.max_keys: must be above 0"),
            ("clients.rate_limit_fields = true", "clients.rate_limit_fields: needs clients.rate_limit"),
            (
                "clients = { rate_limit_fields = true, rate_limit = { per_second = 1 }, \
                 shared = { redis = 'redis://127.0.0.1' } }",
                "clients.rate_limit_fields: has no effect with clients.shared",
            ),
        ] {
            let complaint = complaint(&format!("{lines}\n{ROUTE}\nupstreams.a = {{ url = 'http://a' }}"));
            assert!(complaint.starts_with(expected), "{complaint}");
        }
        let budget = about_upstream("url = 'http://a'\nstack.retry_budget.ratio = 1.5");
        assert_eq!(budget, "upstreams.a.stack.retry_budget.ratio: must be at most 1");
        let pacing = about_upstream("url = 'http://a'\nstack.pacing = { per_second = 1 }");
        assert_eq!(pacing, "upstreams.a.stack.pacing: has no effect in a gateway");
        let limit = about_upstream("url = 'http://a'\nstack.concurrency_limit = { limit = 1 }");
        assert_eq!(
            limit,
            "upstreams.a.stack.concurrency_limit: belongs to the upstream: upstreams.a.concurrency_limit"
        );
        let text = format!("listen = 'nonsense'\n{ROUTE}\nupstreams.a = {{ url = 'http://a' }}");
        let complaint = Config::parse(&text).expect_err("no address").to_string();
        assert!(complaint.starts_with("listen: must be such as"), "{complaint}");
    }
}
