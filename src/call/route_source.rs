//! How a balancer reads from a request where it may go.

use super::CallHistory;

/// Reads from a request which endpoints it has tried, and which endpoint suits it.
///
/// A closure `Fn(&Req) -> u64` is a source of [affinities](Self::affinity) without histories. `http::RequestExtensions`
/// reads the history that a retry or a hedge leaves in a request. [`NoRoute`] reads nothing.
pub trait RouteSource<Req> {
    /// The endpoints of this call so far. A balancer avoids them, and adds the next one.
    fn history<'r>(&self, _request: &'r Req) -> Option<&'r CallHistory> {
        None
    }

    /// A hash of the part of the request by which a strategy chooses the endpoint, such as a user or a key of a cache.
    ///
    /// No strategy of this crate asks for it; one of your own may.
    fn affinity(&self, _request: &Req) -> Option<u64> {
        None
    }
}

/// Reads nothing. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRoute;

impl<Req> RouteSource<Req> for NoRoute {}

impl<Req, F> RouteSource<Req> for F
where
    F: Fn(&Req) -> u64,
{
    fn affinity(&self, request: &Req) -> Option<u64> {
        Some(self(request))
    }
}
