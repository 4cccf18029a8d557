//! The numbers of a discovery by DNS.

use std::time::Duration;

use crate::call::ConfigError;

/// How often a name is looked up, and how many of its addresses are used.
///
/// ```
/// use std::time::Duration;
/// use tower_reliability::dns::DnsConfig;
///
/// const DNS: DnsConfig = DnsConfig::new().max_ttl(Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, expecting = "a table, such as { max_ttl = \"30s\" }")
)]
pub struct DnsConfig {
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) min_ttl: Duration,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) max_ttl: Duration,
    #[cfg_attr(feature = "serde", serde(with = "crate::call::duration"))]
    pub(super) timeout: Duration,
    pub(super) max_endpoints: usize,
}

impl DnsConfig {
    /// With the defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            min_ttl: Duration::from_secs(5),
            max_ttl: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            max_endpoints: 1_000,
        }
    }

    /// The shortest time from one lookup to the next, whatever the TTL of the answer.
    ///
    /// A short time finds new addresses sooner, and asks the DNS server more often. It is also the first pause after a
    /// failed lookup. 100 ms to 1 day. Default: 5 s.
    #[must_use]
    pub const fn min_ttl(mut self, ttl: Duration) -> Self {
        self.min_ttl = ttl;
        self
    }

    /// The longest time from one lookup to the next, whatever the TTL of the answer.
    ///
    /// A short time limits how long an address is used that a longer TTL keeps. It is also the longest pause after failed
    /// lookups, which doubles each time. At least [`min_ttl`](Self::min_ttl), at most 1 day. Default: 60 s.
    #[must_use]
    pub const fn max_ttl(mut self, ttl: Duration) -> Self {
        self.max_ttl = ttl;
        self
    }

    /// The longest time that a lookup may take. A longer one fails.
    ///
    /// It should be above the sum of the resolver's own attempts: with a shorter one, a server that answers for one
    /// family only fails every lookup. 1 ms to 1 h. Default: 10 s.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Uses so many addresses of a name. Further ones are left out: known addresses stay, and low ones come first.
    ///
    /// It bounds the memory, whatever a DNS server answers. 1 to 100 000. Default: 1 000.
    #[must_use]
    pub const fn max_endpoints(mut self, endpoints: usize) -> Self {
        self.max_endpoints = endpoints;
        self
    }

    /// Names the first field that breaks its rule.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let checks = [
            ((TENTH..=DAY).contains(&self.min_ttl), "min_ttl", "must be at least 100 ms and at most 1 day"),
            (
                (self.min_ttl..=DAY).contains(&self.max_ttl),
                "max_ttl",
                "must be at least `min_ttl` and at most 1 day",
            ),
            ((MILLI..=HOUR).contains(&self.timeout), "timeout", "must be at least 1 ms and at most 1 h"),
            (
                (1..=100_000).contains(&self.max_endpoints),
                "max_endpoints",
                "must be at least 1 and at most 100000",
            ),
        ];
        checks.into_iter().try_for_each(|(holds, field, rule)| ConfigError::check(holds, field, rule))
    }
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self::new()
    }
}

const MILLI: Duration = Duration::from_millis(1);
const TENTH: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_21_numbers_out_of_range_are_refused_by_their_name() {
        let new = DnsConfig::new();
        let refused = |config: DnsConfig| config.check().err().map(|error| error.field());
        assert_eq!(refused(new), None);
        assert_eq!(refused(new.min_ttl(Duration::ZERO)), Some("min_ttl"));
        assert_eq!(refused(new.min_ttl(Duration::MAX).max_ttl(Duration::MAX)), Some("min_ttl"));
        assert_eq!(refused(new.max_ttl(Duration::from_secs(4))), Some("max_ttl"));
        assert_eq!(refused(new.max_ttl(Duration::MAX)), Some("max_ttl"));
        for timeout in [Duration::ZERO, Duration::MAX] {
            assert_eq!(refused(new.timeout(timeout)), Some("timeout"));
        }
        for endpoints in [0, usize::MAX] {
            assert_eq!(refused(new.max_endpoints(endpoints)), Some("max_endpoints"));
        }
        assert_eq!(refused(new.min_ttl(DAY).max_ttl(DAY).timeout(HOUR).max_endpoints(1)), None);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_file_may_leave_out_every_number() {
        let expected = DnsConfig::new().min_ttl(Duration::from_secs(1)).max_endpoints(16);
        assert_eq!(toml::from_str("min_ttl = '1s'\nmax_endpoints = 16"), Ok(expected));
        assert_eq!(toml::from_str(""), Ok(DnsConfig::new()));
        assert!(toml::from_str::<DnsConfig>("ttl = '1s'").is_err());
    }
}
