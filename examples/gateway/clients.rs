//! The part of the config that is about the clients.

use std::time::Duration;

use serde::Deserialize;
use tower_reliability::{rate_limit::RateLimitConfig, wait_queue::WaitQueueConfig};

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
        if self.max_keys == 0 {
            return Err(BadConfig::new("clients.max_keys", "must be above 0"));
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
            max_keys: 100_000,
            priority_header: PriorityHeader::default(),
            header_read_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(30),
            access_log: false,
        }
    }
}
