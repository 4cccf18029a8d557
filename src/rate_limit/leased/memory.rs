//! A source for one process.

use std::{
    collections::HashMap,
    fmt,
    future::{Future, ready},
    sync::Arc,
    time::Instant,
};

use super::{
    gcra,
    source::{Grant, QuotaRequest, QuotaSource},
};
use crate::{
    call::BoxError,
    rt::{
        clock,
        sync::{Mutex, lock},
    },
};

/// Keeps the buckets in memory: for tests, and for limits that share a quota within one process.
///
/// It forgets a bucket that is full again, so memory is bounded by the buckets in use. It refuses a new bucket beyond a
/// million of them. Time is tokio's, so it follows paused time.
///
/// # Clone
///
/// Clones share the buckets.
#[derive(Clone)]
pub struct MemoryQuota {
    shared: Arc<MemoryShared>,
}

struct MemoryShared {
    epoch: Instant,
    buckets: Mutex<Buckets>,
}

struct Buckets {
    /// When each bucket is full again, in nanoseconds since the epoch.
    full_at: HashMap<Arc<str>, u64>,
    /// The number of buckets at which the full ones are forgotten.
    sweep_at: usize,
}

impl MemoryQuota {
    /// Without buckets: the first request of each finds it full.
    #[must_use]
    pub fn new() -> Self {
        let buckets = Mutex::new(Buckets { full_at: HashMap::new(), sweep_at: FIRST_SWEEP });
        Self { shared: Arc::new(MemoryShared { epoch: clock::now(), buckets }) }
    }

    fn answer(&self, request: &QuotaRequest) -> Result<Grant, BoxError> {
        let mut buckets = lock(&self.shared.buckets);
        let since = clock::now().saturating_duration_since(self.shared.epoch);
        let now = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        buckets.lease(request, now).ok_or_else(|| "too many buckets are in use".into())
    }
}

impl Buckets {
    fn lease(&mut self, request: &QuotaRequest, now: u64) -> Option<Grant> {
        if let Some(full_at) = self.full_at.get_mut(&request.key) {
            let grant;
            (*full_at, grant) = gcra::lease(*full_at, request, now);
            return Some(grant);
        }
        if self.full_at.len() >= self.sweep_at {
            self.full_at.retain(|_, full_at| *full_at > now);
            // Twice what is left: the work of all sweeps together stays in proportion to the new buckets.
            self.sweep_at = (self.full_at.len() * 2).clamp(FIRST_SWEEP, MAX_BUCKETS);
        }
        if self.full_at.len() >= MAX_BUCKETS {
            return None;
        }
        let (full_at, grant) = gcra::lease(0, request, now);
        self.full_at.insert(Arc::clone(&request.key), full_at);
        Some(grant)
    }
}

impl QuotaSource for MemoryQuota {
    fn lease(&self, request: QuotaRequest) -> impl Future<Output = Result<Grant, BoxError>> + Send {
        ready(self.answer(&request))
    }
}

impl Default for MemoryQuota {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buckets = lock(&self.shared.buckets).full_at.len();
        f.debug_struct("MemoryQuota").field("buckets", &buckets).finish_non_exhaustive()
    }
}

const FIRST_SWEEP: usize = 1_024;
const MAX_BUCKETS: usize = 1_000_000;

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn case_34_full_buckets_are_forgotten() {
        let source = MemoryQuota::new();
        for key in 0..10_000 {
            let request = QuotaRequest::new(key.to_string(), Duration::from_millis(1), 10).wanted(1);
            assert_eq!(source.lease(request).await.expect("there is room").granted, 1);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let buckets = lock(&source.shared.buckets).full_at.len();
        assert!(buckets <= FIRST_SWEEP, "{buckets}");
    }
}
