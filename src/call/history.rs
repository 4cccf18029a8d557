//! What has been tried for one call so far.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use crate::rt::sync::{AtomicU64, Mutex, Ordering, lock};

/// What has been tried for one call: by how many retries, and at which endpoints.
///
/// It travels with the request and all its copies. A balancer leaves there where it sends an attempt, and sends the next
/// one elsewhere; a retrying layer leaves there that it has tried again, and those above it stand down.
///
/// ```
/// use tower_reliability::CallHistory;
///
/// let history = CallHistory::new();
/// history.visit("10.0.0.1:80");
/// assert!(history.has_visited("10.0.0.1:80") && !history.has_visited("10.0.0.2:80"));
/// ```
///
/// # Clone
///
/// Clones share what they hold.
#[derive(Clone, Default)]
pub struct CallHistory {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// That of the layer above, which has a count of its own.
    above: Option<CallHistory>,
    retries: AtomicU64,
    /// Hashes: two endpoints that share one cost the second of them a visit.
    visited: Mutex<Vec<u64>>,
}

impl CallHistory {
    /// Nothing has been tried.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The trail of a layer below one that has left this trail: it shares the endpoints, and counts for itself.
    #[must_use]
    pub fn below(&self) -> Self {
        Self { shared: Arc::new(Shared { above: Some(self.clone()), ..Shared::default() }) }
    }

    /// An attempt goes to this endpoint.
    pub fn visit(&self, endpoint: impl Hash) {
        let hash = hash(endpoint);
        let mut visited = lock(&self.top().shared.visited);
        if !visited.contains(&hash) {
            visited.push(hash);
        }
    }

    /// Whether an attempt of this call went to this endpoint.
    #[must_use]
    pub fn has_visited(&self, endpoint: impl Hash) -> bool {
        lock(&self.top().shared.visited).contains(&hash(endpoint))
    }

    /// Somebody tries again: the layer whose trail this is. Those above it get to know.
    pub fn retried(&self) {
        self.chain().for_each(|history| {
            history.shared.retries.fetch_add(1, Ordering::Relaxed);
        });
    }

    /// How often somebody has tried again, this layer or one below it.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.shared.retries.load(Ordering::Relaxed)
    }

    /// The one that everything tried for the call is written to.
    fn top(&self) -> &Self {
        self.chain().last().unwrap_or(self)
    }

    /// This one and those above it.
    fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |history| history.shared.above.as_ref())
    }
}

impl fmt::Debug for CallHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallHistory")
            .field("retries", &self.retries())
            .field("visited", &lock(&self.top().shared.visited).len())
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
    fn clones_share_what_was_tried() {
        let history = CallHistory::new();
        let copy = history.clone();
        copy.visit(7_u32);
        copy.retried();
        assert!(history.has_visited(7_u32) && !history.has_visited(8_u32));
        assert_eq!(history.retries(), 1);
    }

    #[test]
    fn those_above_know_of_retries_below_and_not_the_reverse() {
        let outer = CallHistory::new();
        let (first, second) = (outer.below(), outer.below());
        first.retried();
        first.visit("a");
        outer.retried();
        assert_eq!((outer.retries(), first.retries(), second.retries()), (2, 1, 0));
        assert!(second.has_visited("a") && outer.has_visited("a"));
    }
}
