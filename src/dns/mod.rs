//! Discovery by DNS: the addresses of a name as a stream of changes, for a load balancer. With the feature `dns`.
//!
//! [`DnsConfig::discover`] makes a tower [`Discover`](tower::discover::Discover) for `host:port`. It looks up records of
//! the types A and AAAA, and looks them up again when their TTL ends. New addresses become
//! [`Insert`](tower::discover::Change::Insert), and addresses that are gone [`Remove`](tower::discover::Change::Remove).
//!
//! ```no_run
//! use std::net::SocketAddr;
//! use futures::StreamExt;
//! use tower::discover::Change;
//! use tower_reliability::dns::{DnsConfig, system_resolver};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let connect = |address: SocketAddr| format!("a client of {address}");
//! let mut endpoints =
//!     DnsConfig::new().discover("api.internal:8080", system_resolver()?, connect)?;
//! while let Some(Ok(change)) = endpoints.next().await {
//!     match change {
//!         Change::Insert(address, client) => println!("{address}: {client}"),
//!         Change::Remove(address) => println!("{address} is gone"),
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! # Failures
//!
//! A failed lookup keeps the last good set: an error, a timeout, and an answer without addresses. The next lookup comes
//! after [`min_ttl`](DnsConfig::min_ttl), and this pause doubles with each further failure up to
//! [`max_ttl`](DnsConfig::max_ttl). If the lookup of one family fails, the known addresses of that family stay, and those
//! of the other one follow the answer.
//!
//! # Resolvers
//!
//! [`system_resolver`] and every other `TokioResolver` of hickory is a resolver. [`Resolve`] is the trait for others, and
//! a closure in a test is enough. Addresses that IPv6 maps from IPv4 count as IPv4.
//!
//! # Defaults
//!
//! | setting | default | range |
//! |---|---|---|
//! | [`min_ttl`](DnsConfig::min_ttl) | 5 s | 100 ms to 1 day |
//! | [`max_ttl`](DnsConfig::max_ttl) | 60 s | at least `min_ttl`, at most 1 day |
//! | [`timeout`](DnsConfig::timeout) | 10 s | 1 ms to 1 h |
//! | [`max_endpoints`](DnsConfig::max_endpoints) | 1 000 | 1 to 100 000 |
//!
//! # Telemetry
//!
//! | event | severity | when |
//! |---|---|---|
//! | [`EndpointsChanged`](crate::EventKind::EndpointsChanged) | info | an answer changes the set |
//! | [`LookupFailed`](crate::EventKind::LookupFailed) | warning | a lookup fails, for both families or for one |
//!
//! A lookup that changes nothing emits no event, and [`DnsSnapshot`] counts it.
//!
//! # Runtime
//!
//! The stream needs a tokio runtime with time enabled, and hickory's resolver one with I/O. The stream starts no task: it
//! looks a name up while it is polled. A stream that is not polled keeps its set. hickory starts a task per connection to
//! a DNS server.

mod config;
mod discovery;
mod handle;
mod hickory;
mod resolve;
mod snapshot;
mod state;
mod target;

pub use config::DnsConfig;
pub use discovery::DnsDiscovery;
pub use handle::DnsHandle;
pub use hickory::system_resolver;
pub use resolve::{Family, Resolve, Resolved};
pub use snapshot::DnsSnapshot;
