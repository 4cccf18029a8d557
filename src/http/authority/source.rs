//! The part of a request that names its backend.

use ::http::{Request, header::HOST, uri};

use super::key::Authority;
use crate::{
    circuit_breaker::CircuitBreakerConfig,
    concurrency_limit::ConcurrencyLimitConfig,
    hedge::HedgeConfig,
    keyed::KeySource,
    rate_limit::RateLimitConfig,
    retry::RetryConfig,
    stack::{ConfigSlots, Costed, KeyedConfigSlots, PerKey, StackBuilder},
};

/// Reads the [`Authority`] of a request: from its extensions, else from its URI, else from its `Host` header.
///
/// All requests without any of these share the key `unknown`. The clients that `channel` makes of a gRPC stack put a key
/// of the channel into the extensions of such requests.
///
/// A `Host` header names no scheme, so a host without a port is a key of its own: `Host: shop.example` differs from
/// `http://shop.example/`, whose port is 80. On a server the caller chooses the header, and may spread its requests over
/// many keys. Give a server a key of its own, such as the route.
///
/// A URL of reqwest has no shared parts, so each stage with a key makes one small allocation per call.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByAuthority;

/// A stage of a stack with state per host and port. See `per_authority` of [`CircuitBreakerConfig`],
/// [`RetryConfig`](RetryConfig::per_authority), [`HedgeConfig`](HedgeConfig::per_authority),
/// [`RateLimitConfig`](RateLimitConfig::per_authority) and
/// [`ConcurrencyLimitConfig`](ConcurrencyLimitConfig::per_authority).
pub type PerAuthority<Config> = PerKey<Config, Authority, ByAuthority>;

impl CircuitBreakerConfig {
    /// A stage of a stack with one circuit per host and port, so that one dead host does not stop the others.
    ///
    /// Give the retry the same key: it then looks at the circuit of its request, and stops when that circuit opens. At
    /// most 1 000 hosts have a circuit; [`max_keys`](PerKey::max_keys) changes that.
    ///
    /// ```
    /// use tower_reliability::{circuit_breaker::CircuitBreakerConfig, http, retry::RetryConfig};
    ///
    /// let stack = http::stack()
    ///     .retry(RetryConfig::new().per_authority())
    ///     .circuit_breaker(CircuitBreakerConfig::new().per_authority().max_keys(200))
    ///     .build()?;
    /// # let _ = stack;
    /// # Ok::<(), tower_reliability::ConfigError>(())
    /// ```
    #[must_use]
    pub const fn per_authority(self) -> PerAuthority<Self> {
        PerKey::new(self, ByAuthority)
    }
}

impl RetryConfig {
    /// A stage of a stack with one retry budget per host and port, so that one dead host does not use up the retries of
    /// the others.
    ///
    /// Each budget has the numbers of the [`retry_budget`](crate::stack::StackBuilder::retry_budget) of the stack. At
    /// most 1 000 hosts have a budget; [`max_keys`](PerKey::max_keys) changes that.
    #[must_use]
    pub const fn per_authority(self) -> PerAuthority<Self> {
        PerKey::new(self, ByAuthority)
    }
}

impl HedgeConfig {
    /// A stage of a stack with one budget and the learnt delays per host and port, so that one slow host does not delay or
    /// use up the hedges of the others.
    ///
    /// The retry of the stack must have the same key: the two share the budget of each host. At most 1 000 hosts have a
    /// state; [`max_keys`](PerKey::max_keys) changes that.
    #[must_use]
    pub const fn per_authority(self) -> PerAuthority<Self> {
        PerKey::new(self, ByAuthority)
    }
}

impl ConcurrencyLimitConfig {
    /// A stage of a stack with one limit and one queue per host and port, so that one slow host does not take the permits
    /// of the others.
    ///
    /// At most 1 000 hosts have a limit; [`max_keys`](PerKey::max_keys) changes that.
    #[must_use]
    pub const fn per_authority(self) -> PerAuthority<Self> {
        PerKey::new(self, ByAuthority)
    }
}

impl RateLimitConfig {
    /// A stage of a stack with one rate limit per host and port, for hosts with a quota each.
    ///
    /// Such a limit rejects calls at once, so the config must have no queue. At most 100 000 hosts have state;
    /// [`max_keys`](PerKey::max_keys) changes that.
    ///
    /// ```
    /// use tower_reliability::{http, rate_limit::RateLimitConfig};
    ///
    /// let quota = RateLimitConfig::per_second(10);
    /// let stack = http::stack().pacing(quota.per_authority()).build()?;
    /// # let _ = stack;
    /// # Ok::<(), tower_reliability::ConfigError>(())
    /// ```
    #[must_use]
    pub const fn per_authority(self) -> PerAuthority<Self> {
        PerKey::of_rate_limit(self, ByAuthority)
    }
}

impl<C> Costed<C> {
    /// A stage of a stack with one rate limit [per host and port](RateLimitConfig::per_authority).
    #[must_use]
    pub const fn per_authority(self) -> PerAuthority<Self> {
        PerKey::of_rate_limit(self, ByAuthority)
    }
}

impl<P, E, Fallback, Q> StackBuilder<P, E, ConfigSlots<Fallback>, Q> {
    /// Keeps the state of the retry, the hedge and the breaker of a file per host and port, each if it is present.
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// use tower_reliability::{http, stack::StackConfig};
    ///
    /// let file: StackConfig = toml::from_str("[retry]\n[circuit_breaker]")?;
    /// let stack = http::stack_from(file).per_authority().build()?;
    /// # let _ = stack;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn per_authority(self) -> StackBuilder<P, E, KeyedConfigSlots<Authority, ByAuthority, Fallback>, Q> {
        self.keyed_by(ByAuthority)
    }
}

impl<B> KeySource<Request<B>, Authority> for ByAuthority {
    fn key(&self, request: &Request<B>) -> Authority {
        if let Some(authority) = request.extensions().get::<Authority>() {
            return authority.clone();
        }
        let of_uri = Authority::of_uri(request.uri());
        if of_uri.is_known() {
            return of_uri;
        }
        let host = request.headers().get(HOST).map(|host| uri::Authority::try_from(host.as_bytes()));
        host.and_then(Result::ok).map_or(Authority::UNKNOWN, |host| Authority::named(host, None))
    }
}

#[cfg(feature = "reqwest")]
impl KeySource<reqwest::Request, Authority> for ByAuthority {
    fn key(&self, request: &reqwest::Request) -> Authority {
        let url = request.url();
        let host = url.host_str();
        host.map_or(Authority::UNKNOWN, |host| Authority::of_host(host, url.port_or_known_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(request: &Request<()>) -> String {
        ByAuthority.key(request).to_string()
    }

    #[test]
    fn extensions_come_before_the_uri_and_the_uri_before_the_header() {
        let request = Request::get("http://uri.example/").header("host", "header.example:81");
        let mut request = request.body(()).expect("a request");
        assert_eq!(key(&request), "uri.example:80");
        request.extensions_mut().insert("extension:82".parse::<Authority>().expect("an authority"));
        assert_eq!(key(&request), "extension:82");

        let of_header =
            |host: &[u8]| key(&Request::get("/").header("host", host).body(()).expect("a request"));
        assert_eq!(of_header(b"header.example:81"), "header.example:81");
        assert_eq!(of_header(b"header.example"), "header.example");
        for none in [&b""[..], b"a b", b"\xff", b"a:b:c"] {
            assert_eq!(of_header(none), "unknown", "{none:?}");
        }
    }

    #[cfg(feature = "reqwest")]
    #[test]
    fn a_url_of_reqwest_is_the_same_key_as_a_uri() {
        for url in ["http://shop.example/tea", "https://user:secret@Shop.example:8443/", "http://[::1]/"] {
            let request = Request::get(url).body(()).expect("a request");
            let of_reqwest = reqwest::Request::new(reqwest::Method::GET, url.parse().expect("a URL"));
            assert_eq!(ByAuthority.key(&of_reqwest), ByAuthority.key(&request), "{url}");
        }
    }
}
