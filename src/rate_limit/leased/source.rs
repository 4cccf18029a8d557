//! The store that all instances share.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use crate::call::BoxError;

/// A store of token buckets that several instances share, such as Redis.
///
/// [`MemoryQuota`](super::MemoryQuota) is one for a single process and for tests. The feature `redis` has one over Redis.
/// An `Arc` of a source is a source.
///
/// The limit asks from a task of its own, never from a call. It drops the future after its
/// [timeout](super::LeasedRateLimitConfig::timeout). An error and a panic count as a source that is lost.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no source of quotas",
    note = "`MemoryQuota` is one, and with the feature `redis` `RedisQuota`"
)]
pub trait QuotaSource: Send + Sync + 'static {
    /// Charges the units that are owed, and grants as many of the wanted units as the bucket has, maybe none.
    fn lease(&self, request: QuotaRequest) -> impl Future<Output = Result<Grant, BoxError>> + Send;
}

/// The question of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuotaRequest {
    /// The bucket. It is made full by its first request.
    pub key: Arc<str>,
    /// The time in which the bucket gets one unit.
    pub interval: Duration,
    /// The units that a full bucket holds.
    pub burst: u32,
    /// Units that the instance has given out already. The source takes them in any case, so the bucket may fall below 0.
    pub owed: u32,
    /// Units that the instance would like to have besides.
    pub wanted: u32,
}

/// The answer of the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The units that the instance gets: at most the wanted ones.
    pub granted: u32,
    /// The units that are left in the bucket.
    pub remaining: u32,
    /// The time until the bucket has a unit again. Zero if it has one.
    pub retry_after: Duration,
    /// The time until the bucket is full again.
    pub reset_after: Duration,
}

impl QuotaRequest {
    /// A request for no unit of this bucket.
    #[must_use]
    pub fn new(key: impl Into<Arc<str>>, interval: Duration, burst: u32) -> Self {
        Self { key: key.into(), interval, burst, owed: 0, wanted: 0 }
    }

    /// Charges these units.
    #[must_use]
    pub fn owed(self, units: u32) -> Self {
        Self { owed: units, ..self }
    }

    /// Asks for these units.
    #[must_use]
    pub fn wanted(self, units: u32) -> Self {
        Self { wanted: units, ..self }
    }
}

impl<S: QuotaSource> QuotaSource for Arc<S> {
    fn lease(&self, request: QuotaRequest) -> impl Future<Output = Result<Grant, BoxError>> + Send {
        S::lease(self, request)
    }
}

/// A source whose type is forgotten. Its future is boxed, which no call waits for.
pub(super) trait AnySource: Send + Sync {
    fn lease(&self, request: QuotaRequest) -> Leasing<'_>;
}

pub(super) type Leasing<'a> = Pin<Box<dyn Future<Output = Result<Grant, BoxError>> + Send + 'a>>;

impl<S: QuotaSource> AnySource for S {
    fn lease(&self, request: QuotaRequest) -> Leasing<'_> {
        Box::pin(QuotaSource::lease(self, request))
    }
}
