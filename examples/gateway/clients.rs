//! The part of the config that is about the clients.

use std::time::Duration;

use serde::Deserialize;

use crate::{client_key::ClientKey, config::BadConfig, forwarded::Trust, priority::PriorityHeader};

/// The side of the clients. A missing key has its default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClientsConfig {
    pub(crate) trust: Trust,
    pub(crate) key: ClientKey,
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
        Ok(())
    }
}

impl Default for ClientsConfig {
    fn default() -> Self {
        Self {
            trust: Trust::default(),
            key: ClientKey::default(),
            priority_header: PriorityHeader::default(),
            header_read_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(30),
            access_log: false,
        }
    }
}
