//! The question to a resolver, and its answer.

use std::{future::Future, net::IpAddr, time::Duration};

use crate::call::BoxError;

/// A resolver of names. The feature `dns` implements it for hickory's `TokioResolver`; see
/// [`system_resolver`](super::system_resolver).
///
/// Every closure from a `String` to a future of a `Result<Resolved, E>` is one, for tests and for other registries:
///
/// ```
/// use std::{io, net::IpAddr, time::Duration};
/// use tower_reliability::dns::{Resolve, Resolved};
///
/// fn fixed() -> impl Resolve {
///     |_host: String| async {
///         let addresses = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
///         Ok::<_, io::Error>(Resolved::new(addresses, Duration::from_secs(30)))
///     }
/// }
/// # let _ = fixed();
/// ```
///
/// # Cancellation
///
/// The future is dropped at the [timeout](super::DnsConfig::timeout), and with the discovery.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no resolver of names",
    label = "this is no resolver",
    note = "a resolver is hickory's `TokioResolver`, or a closure `Fn(String) -> impl Future<Output = Result<Resolved, E>>` that is `Send + Sync + 'static`"
)]
pub trait Resolve: Send + Sync + 'static {
    /// Looks up the addresses of a host, of both families.
    fn resolve(&self, host: &str) -> impl Future<Output = Result<Resolved, BoxError>> + Send;
}

impl<F, Fut, E> Resolve for F
where
    F: Fn(String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Resolved, E>> + Send,
    E: Into<BoxError>,
{
    async fn resolve(&self, host: &str) -> Result<Resolved, BoxError> {
        self(host.to_owned()).await.map_err(Into::into)
    }
}

/// The answer of a resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) ttl: Duration,
    pub(super) without: Option<(Family, String)>,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4, of records of type A.
    V4,
    /// IPv6, of records of type AAAA.
    V6,
}

impl Resolved {
    /// These addresses, which are valid for so long. An answer without addresses is a failed lookup.
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>, ttl: Duration) -> Self {
        Self { addresses: addresses.into_iter().collect(), ttl, without: None }
    }

    /// Says that the lookup of one family failed, with the reason. The known addresses of that family stay.
    #[must_use]
    pub fn without(mut self, family: Family, reason: impl Into<String>) -> Self {
        self.without = Some((family, reason.into()));
        self
    }
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}
