//! The resolver of hickory.

use std::time::Duration;

use futures_util::future::join;
use hickory_resolver::{TokioResolver, lookup::Lookup, net::NetError};

use super::resolve::{Family, Resolve, Resolved};
use crate::{
    call::{BoxError, short_report},
    rt::clock,
};

/// A resolver with the configuration of the system: `/etc/resolv.conf` and `/etc/hosts` on Unix, the registry on
/// Windows.
///
/// It keeps no cache: a [`DnsDiscovery`](super::DnsDiscovery) asks when an answer has expired, and after a failure it
/// wants another answer. For other servers, options or DNS over TLS, build a [`TokioResolver`] with hickory.
///
/// # Errors
///
/// If the configuration cannot be read.
pub fn system_resolver() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio()?;
    builder.options_mut().cache_size = 0;
    builder.build()
}

impl Resolve for TokioResolver {
    async fn resolve(&self, host: &str) -> Result<Resolved, BoxError> {
        let (v4, v6) = join(self.ipv4_lookup(host), self.ipv6_lookup(host)).await;
        match (records(v4), records(v6)) {
            (Ok(v4), Ok(v6)) => Ok(answer(v4.into_iter().chain(v6))),
            (Ok(v4), Err(error)) => Ok(answer(v4.into_iter()).without(Family::V6, short_report(&error))),
            (Err(error), Ok(v6)) => Ok(answer(v6.into_iter()).without(Family::V4, short_report(&error))),
            (Err(error), Err(_)) => Err(error.into()),
        }
    }
}

/// The records of one family. A name without records of the family is no failure.
fn records(result: Result<Lookup, NetError>) -> Result<Option<Lookup>, NetError> {
    match result {
        Err(error) if error.is_no_records_found() => Ok(None),
        other => other.map(Some),
    }
}

/// The addresses of all records, and the shortest TTL.
fn answer(lookups: impl Iterator<Item = Lookup>) -> Resolved {
    let now = clock::now();
    let (mut addresses, mut ttl) = (Vec::new(), Duration::MAX);
    for lookup in lookups {
        ttl = ttl.min(lookup.valid_until().saturating_duration_since(now));
        addresses.extend(lookup.answers().iter().filter_map(|record| record.data.ip_addr()));
    }
    Resolved::new(addresses, ttl)
}
