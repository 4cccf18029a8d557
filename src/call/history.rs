//! The endpoints and retries of one call so far.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use crate::rt::sync::{AtomicU64, Mutex, Ordering, lock};

/// The retries of one call so far, and the endpoints that its attempts went to.
///
/// The history travels with the request and with all copies of it. A balancer records the endpoint of each attempt, and
/// sends the next attempt to another endpoint. A retry layer records its retries, so that outer retry layers stand down.
///
/// ```
/// use tower_reliability::CallHistory;
///
/// let history = CallHistory::new();
/// history.visit_one_of("10.0.0.1:80", 2);
/// assert!(history.has_visited("10.0.0.1:80") && !history.has_visited("10.0.0.2:80"));
/// ```
///
/// # Clone
///
/// Clones share the retries and the endpoints.
#[derive(Clone, Default)]
pub struct CallHistory {
    shared: Arc<HistoryShared>,
}

#[derive(Default)]
struct HistoryShared {
    /// The history of the next outer layer, which counts its own retries.
    outer: Option<CallHistory>,
    retries: AtomicU64,
    visited: Mutex<Visited>,
}

#[derive(Default)]
struct Visited {
    /// Hashes: if two endpoints share one, the second is taken for visited.
    endpoints: Vec<u64>,
    /// How many endpoints there are to choose from, if the chooser has said so.
    of: usize,
}

impl CallHistory {
    /// A history without any attempt.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The history of an inner layer: it shares the endpoints with this one, and counts its own retries.
    #[must_use]
    pub fn inner(&self) -> Self {
        Self { shared: Arc::new(HistoryShared { outer: Some(self.clone()), ..HistoryShared::default() }) }
    }

    /// Records that an attempt goes to this endpoint. A chooser of endpoints takes
    /// [`visit_one_of`](Self::visit_one_of).
    pub fn visit(&self, endpoint: impl Hash) {
        self.visit_one_of(endpoint, 0);
    }

    /// Records that an attempt goes to this endpoint, and that the chooser had `of` endpoints to choose from.
    ///
    /// By this the chooser promises that the next attempt goes to an endpoint that the call has not tried, as long as one
    /// is left. A retry then does not wait for a `Retry-After` of this endpoint: the hint binds the endpoint that gave
    /// it.
    pub fn visit_one_of(&self, endpoint: impl Hash, of: usize) {
        let hash = hash(endpoint);
        let mut visited = lock(&self.outermost().shared.visited);
        visited.of = of;
        if !visited.endpoints.contains(&hash) {
            visited.endpoints.push(hash);
        }
    }

    /// Whether an attempt of this call went to this endpoint.
    #[must_use]
    pub fn has_visited(&self, endpoint: impl Hash) -> bool {
        lock(&self.outermost().shared.visited).endpoints.contains(&hash(endpoint))
    }

    /// Whether an attempt of this call went to any endpoint.
    pub(crate) fn has_visits(&self) -> bool {
        !lock(&self.outermost().shared.visited).endpoints.is_empty()
    }

    /// Whether the chooser has an endpoint left that this call has not tried.
    pub(crate) fn has_untried(&self) -> bool {
        let visited = lock(&self.outermost().shared.visited);
        visited.endpoints.len() < visited.of
    }

    /// Records a retry by the layer that this history belongs to. All outer layers see it.
    pub fn retried(&self) {
        self.chain().for_each(|history| {
            // Relaxed: the counts order nothing else.
            history.shared.retries.fetch_add(1, Ordering::Relaxed);
        });
    }

    /// The retries by the layer that this history belongs to, and by inner layers.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.shared.retries.load(Ordering::Relaxed)
    }

    /// The history that holds the endpoints of the call.
    fn outermost(&self) -> &Self {
        self.chain().last().unwrap_or(self)
    }

    /// This history, and those of all outer layers.
    fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |history| history.shared.outer.as_ref())
    }
}

impl fmt::Debug for CallHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallHistory")
            .field("retries", &self.retries())
            .field("visited", &lock(&self.outermost().shared.visited).endpoints.len())
            .finish()
    }
}

fn hash(endpoint: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    endpoint.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_endpoints_and_retries() {
        let history = CallHistory::new();
        let copy = history.clone();
        copy.visit(7_u32);
        copy.retried();
        assert!(history.has_visited(7_u32) && !history.has_visited(8_u32));
        assert_eq!(history.retries(), 1);
    }

    #[test]
    fn outer_layers_see_inner_retries_and_not_the_reverse() {
        let outer = CallHistory::new();
        let (first, second) = (outer.inner(), outer.inner());
        first.retried();
        first.visit("a");
        outer.retried();
        assert_eq!((outer.retries(), first.retries(), second.retries()), (2, 1, 0));
        assert!(second.has_visited("a") && outer.has_visited("a"));
    }

    #[test]
    fn an_endpoint_is_untried_until_as_many_as_there_are_were_visited() {
        let history = CallHistory::new();
        history.visit("a");
        assert!(!history.has_untried(), "the chooser has not said how many there are");
        history.inner().visit_one_of("a", 2);
        assert!(history.has_untried());
        history.visit_one_of("b", 2);
        assert!(!history.has_untried() && !history.inner().has_untried());
    }
}
