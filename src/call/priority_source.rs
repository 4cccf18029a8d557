//! How layers read the priority of a request.

use super::Priority;

/// Reads from a request how important it is, and who sent it.
///
/// A closure `Fn(&Req) -> Priority` is a source without keys. [`NoPriority`] takes every request for
/// [`Normal`](Priority::Normal).
///
/// ```
/// use tower_reliability::{Priority, concurrency_limit::ConcurrencyLimitConfig};
///
/// struct Query { batch: bool }
/// let layer = ConcurrencyLimitConfig::new(40).build()?.priority(|query: &Query| {
///     if query.batch { Priority::Low } else { Priority::Normal }
/// });
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
pub trait PrioritySource<Req> {
    /// The priority of the request. A client that is not trusted may lower it, and not raise it.
    fn priority(&self, _request: &Req) -> Priority {
        Priority::Normal
    }

    /// A hash of the client of the request, for queues that bound the calls of one client.
    ///
    /// Clients with equal hashes share a bound. Hash by a [`RandomState`](std::hash::RandomState) that the source keeps,
    /// so that no client can choose the hash of another.
    fn queue_key(&self, _request: &Req) -> Option<u64> {
        None
    }
}

/// Takes every request for [`Normal`](Priority::Normal), of no client. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPriority;

impl<Req> PrioritySource<Req> for NoPriority {}

impl<Req, F> PrioritySource<Req> for F
where
    F: Fn(&Req) -> Priority,
{
    fn priority(&self, request: &Req) -> Priority {
        self(request)
    }
}
