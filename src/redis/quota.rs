//! The source over Redis.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use ::redis::{Client, IntoConnectionInfo, RedisResult, Script};

use super::connection::Connection;
use crate::{
    call::BoxError,
    rate_limit::leased::{Grant, QuotaRequest, QuotaSource},
};

/// Keeps the buckets of leased rate limits in Redis.
///
/// # Clone
///
/// Clones share one connection.
#[derive(Clone)]
pub struct RedisQuota {
    connection: Arc<Connection>,
    prefix: Arc<str>,
}

impl RedisQuota {
    /// The buckets at this address, such as `redis://user:password@host:6379/0`. Nothing connects yet.
    ///
    /// # Errors
    ///
    /// If the address is none. For TLS, and for anything else that the client library can do, see [`new`](Self::new).
    pub fn open(address: impl IntoConnectionInfo) -> RedisResult<Self> {
        Ok(Self::new(Client::open(address)?))
    }

    /// The buckets of this client. Nothing connects yet.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { connection: Arc::new(Connection::new(client, &SCRIPT)), prefix: PREFIX.into() }
    }

    /// Begins the key of each bucket with this text.
    ///
    /// All instances of a limit use the same. Default: `tower_reliability:`.
    #[must_use]
    pub fn prefix(self, prefix: impl Into<Arc<str>>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }
}

impl QuotaSource for RedisQuota {
    async fn lease(&self, request: QuotaRequest) -> Result<Grant, BoxError> {
        let (mut connection, in_flight) = self.connection.get().await?;
        let nanos = u64::try_from(request.interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        let (granted, remaining, retry, reset): (i64, i64, i64, i64) = SCRIPT
            .key(format!("{}{}", self.prefix, request.key))
            .arg(nanos)
            .arg(request.burst)
            .arg(request.owed)
            .arg(request.wanted)
            // Sends the hash of the script, and the script itself if the server has forgotten it.
            .invoke_async(&mut connection)
            .await?;
        in_flight.answered();
        let units = |units: i64| u32::try_from(units.max(0)).unwrap_or(u32::MAX);
        let micros = |micros: i64| Duration::from_micros(u64::try_from(micros).unwrap_or(0));
        Ok(Grant {
            granted: units(granted),
            remaining: units(remaining),
            retry_after: micros(retry),
            reset_after: micros(reset),
        })
    }
}

impl fmt::Debug for RedisQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the address, which may have a password.
        f.debug_struct("RedisQuota").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("gcra.lua")));
const PREFIX: &str = "tower_reliability:";
