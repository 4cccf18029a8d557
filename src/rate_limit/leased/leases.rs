//! The lease of a request: the only one, or that of its key.

use std::{
    fmt::{self, Display},
    hash::Hash,
    sync::Arc,
};

use super::{
    handle::{LeasedRateLimitHandle, LeasedShared},
    units::Units,
};
use crate::{
    call::Rejected,
    keyed::{KeySource, Registry},
    rt::descent,
    telemetry::EventKind,
};

/// Finds the lease of a request. Not for implementation outside this crate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` finds no lease for `{Req}`",
    note = "the closure of `keyed` reads a key from a reference to the request"
)]
pub trait Leases<Req> {
    #[doc(hidden)]
    fn admit(&self, request: &Req, cost: u32) -> Result<(), Rejected>;
}

/// One lease for all requests.
///
/// Clones share it.
#[derive(Clone)]
pub struct OneLease {
    units: Arc<Units>,
}

/// A lease per key.
///
/// Clones share the leases.
pub struct LeasePerKey<K, F> {
    key: F,
    keys: Arc<PerKey<K>>,
}

struct PerKey<K> {
    shared: Arc<LeasedShared>,
    max_keys: usize,
    registry: Registry<K, Arc<Units>>,
    /// The lease of keys that find no room.
    others: Arc<Units>,
}

impl OneLease {
    pub(super) fn new(handle: &LeasedRateLimitHandle) -> Self {
        let bucket = handle.name().as_str().into();
        Self { units: Arc::new(Units::new(bucket, Arc::clone(&handle.shared))) }
    }
}

impl<K, F> LeasePerKey<K, F> {
    pub(super) fn new(key: F, handle: &LeasedRateLimitHandle, max_keys: usize) -> Self {
        let shared = Arc::clone(&handle.shared);
        let others = Arc::new(Units::new(handle.name().as_str().into(), Arc::clone(&shared)));
        Self { key, keys: Arc::new(PerKey { shared, max_keys, registry: Registry::new(max_keys), others }) }
    }

    pub(super) fn into_key(self) -> F {
        self.key
    }
}

impl<Req> Leases<Req> for OneLease {
    #[inline]
    fn admit(&self, _request: &Req, cost: u32) -> Result<(), Rejected> {
        self.units.admit(cost)
    }
}

impl<Req, K, F> Leases<Req> for LeasePerKey<K, F>
where
    K: Hash + Eq + Clone + Display,
    F: KeySource<Req, K>,
{
    fn admit(&self, request: &Req, cost: u32) -> Result<(), Rejected> {
        let PerKey { shared, max_keys, registry, others } = &*self.keys;
        let key = self.key.key(request);
        let new = || {
            let bucket = format!("{}:{key}", shared.emitter.name().as_str());
            Arc::new(Units::new(bucket.into(), Arc::clone(shared)))
        };
        match registry.for_call(&key, new, descent::now()) {
            Ok(units) => units.admit(cost),
            Err(exhausted) => {
                if exhausted.first {
                    shared.emitter.emit(EventKind::KeysExhausted { max_keys: *max_keys });
                }
                others.admit(cost)
            }
        }
    }
}

impl<K, F: Clone> Clone for LeasePerKey<K, F> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), keys: Arc::clone(&self.keys) }
    }
}

impl fmt::Debug for OneLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneLease").finish_non_exhaustive()
    }
}

impl<K, F> fmt::Debug for LeasePerKey<K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeasePerKey").field("keys", &self.keys.registry.len()).finish_non_exhaustive()
    }
}
