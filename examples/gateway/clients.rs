//! The part of the config that is about the clients.

use std::{fmt, time::Duration};

use serde::Deserialize;
use tower_reliability::{
    rate_limit::{
        RateLimitConfig,
        leased::{AfterGrace, LeasedRateLimitConfig},
    },
    wait_queue::WaitQueueConfig,
};

use crate::{client_key::ClientKey, config::BadConfig, forwarded::Trust, priority::PriorityHeader};

/// The side of the clients. A missing key has its default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClientsConfig {
    pub(crate) trust: Trust,
    pub(crate) key: ClientKey,
    /// Limits the rate of the requests of each client.
    pub(crate) rate_limit: Option<RateLimitConfig>,
    /// Tells each client what is left of its rate.
    pub(crate) rate_limit_fields: bool,
    /// Lets several gateways keep the limit of each client together.
    pub(crate) shared: Option<Shared>,
    /// The number of clients whose rates are known at a time.
    pub(crate) max_keys: usize,
    pub(crate) priority_header: PriorityHeader,
    /// For the head of a request, from the connection or the answer before.
    #[serde(with = "humantime_serde")]
    pub(crate) header_read_timeout: Duration,
    /// The longest time in which a client takes nothing of its answer.
    #[serde(with = "humantime_serde")]
    pub(crate) send_timeout: Duration,
    /// A flag of the command line.
    #[serde(skip)]
    pub(crate) access_log: bool,
}

/// The store of the limits that several gateways keep together, and the part of each gateway.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shared {
    /// The address, such as `redis://127.0.0.1:6379`. It may have a password.
    pub(crate) redis: Secret,
    pub(crate) instances: Option<u32>,
    #[serde(default, with = "humantime_serde")]
    pub(crate) timeout: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    pub(crate) grace: Option<Duration>,
    #[serde(default)]
    pub(crate) after_grace: AfterGrace,
}

/// A text that no log shows.
#[derive(Clone, Deserialize)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Shared {
    /// The limit of each client, over this store.
    pub(crate) fn limit(&self, limit: RateLimitConfig) -> LeasedRateLimitConfig {
        let mut leased = limit.leased().after_grace(self.after_grace);
        if let Some(instances) = self.instances {
            leased = leased.instances(instances);
        }
        if let Some(timeout) = self.timeout {
            leased = leased.timeout(timeout);
        }
        if let Some(grace) = self.grace {
            leased = leased.grace(grace);
        }
        leased
    }
}

impl ClientsConfig {
    pub(crate) fn check(&self) -> Result<(), BadConfig> {
        for (key, timeout) in
            [("header_read_timeout", self.header_read_timeout), ("send_timeout", self.send_timeout)]
        {
            if timeout.is_zero() {
                return Err(BadConfig::new(format!("clients.{key}"), "must be above 0"));
            }
        }
        if self.rate_limit_fields && self.rate_limit.is_none() {
            return Err(BadConfig::new("clients.rate_limit_fields", "needs clients.rate_limit"));
        }
        if self.rate_limit_fields && self.shared.is_some() {
            let rule = "has no effect with clients.shared: what is left is known in Redis alone";
            return Err(BadConfig::new("clients.rate_limit_fields", rule));
        }
        if self.max_keys == 0 {
            return Err(BadConfig::new("clients.max_keys", "must be above 0"));
        }
        if self.shared.is_some() && self.rate_limit.is_none() {
            return Err(BadConfig::new("clients.shared", "needs a `rate_limit` of the clients"));
        }
        if self.rate_limit.is_some_and(|limit| limit != limit.queue(WaitQueueConfig::none())) {
            let rule = "has no effect: the limit of a client refuses requests at once";
            return Err(BadConfig::new("clients.rate_limit.queue", rule));
        }
        Ok(())
    }
}

impl Default for ClientsConfig {
    fn default() -> Self {
        Self {
            trust: Trust::default(),
            key: ClientKey::default(),
            rate_limit: None,
            rate_limit_fields: false,
            shared: None,
            max_keys: 100_000,
            priority_header: PriorityHeader::default(),
            header_read_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(30),
            access_log: false,
        }
    }
}
