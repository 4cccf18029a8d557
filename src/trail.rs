//! What has been tried for one call so far.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use crate::sync::{AtomicU64, Mutex, Ordering, lock};

/// What has been tried for one call: by how many retries, and at which endpoints.
///
/// It travels with the request and all its copies. A balancer leaves there where it sends an attempt, and sends the next
/// one elsewhere; a retrying layer leaves there that it has tried again, and those above it stand down.
///
/// ```
/// use tower_reliability::Trail;
///
/// let trail = Trail::new();
/// trail.visit("10.0.0.1:80");
/// assert!(trail.has_visited("10.0.0.1:80") && !trail.has_visited("10.0.0.2:80"));
/// ```
///
/// # Clone
///
/// Clones share what they hold.
#[derive(Clone, Default)]
pub struct Trail {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    retries: AtomicU64,
    /// Hashes: two endpoints that share one cost the second of them a visit.
    visited: Mutex<Vec<u64>>,
}

impl Trail {
    /// Nothing has been tried.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An attempt goes to this endpoint.
    pub fn visit(&self, endpoint: impl Hash) {
        let hash = hash(endpoint);
        let mut visited = lock(&self.shared.visited);
        if !visited.contains(&hash) {
            visited.push(hash);
        }
    }

    /// Whether an attempt of this call went to this endpoint.
    #[must_use]
    pub fn has_visited(&self, endpoint: impl Hash) -> bool {
        lock(&self.shared.visited).contains(&hash(endpoint))
    }

    /// Somebody tries again.
    pub fn retried(&self) {
        self.shared.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// How often somebody has tried again, whoever it was.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.shared.retries.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trail")
            .field("retries", &self.retries())
            .field("visited", &lock(&self.shared.visited).len())
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
        let trail = Trail::new();
        let copy = trail.clone();
        copy.visit(7_u32);
        copy.retried();
        assert!(trail.has_visited(7_u32) && !trail.has_visited(8_u32));
        assert_eq!(trail.retries(), 1);
    }
}
