//! The progress of a request body towards the backend.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    algo,
    rt::{
        clock,
        sync::{AtomicU64, Ordering},
    },
};

/// The progress of one request body towards the backend.
///
/// The wrapper of the request body writes it, such as `http::ReplayBody`. Layers that judge how long a backend took read
/// it, through [`DeadlineSource::upload`](super::DeadlineSource::upload). A backend cannot answer a request that it has
/// not received, so the time in which the caller holds the body back does not count against the backend.
///
/// Each attempt has its own upload.
///
/// ```
/// use tower_reliability::Upload;
///
/// let upload = Upload::new();
/// assert!(!upload.is_complete());
/// upload.complete();
/// assert!(upload.is_complete());
/// ```
///
/// # Clone
///
/// Clones describe the same upload.
#[derive(Clone, Debug)]
pub struct Upload(Arc<State>);

#[derive(Debug)]
struct State {
    began: Instant,
    /// Nanoseconds from `began` to the last progress, times four. The lowest two bits say whether the body is complete,
    /// and whether its source has no data at the moment.
    last: AtomicU64,
}

impl Upload {
    /// An upload that begins now, by tokio's clock.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(State { began: clock::now(), last: AtomicU64::new(0) }))
    }

    /// Records that the transport has taken a part of the body.
    pub fn progress(&self) {
        self.store(0);
    }

    /// Records that the transport has taken the whole body.
    pub fn complete(&self) {
        self.store(COMPLETE);
    }

    /// Records that the transport asked for more of the body, and that the caller has not sent it yet.
    pub fn wait_for_caller(&self) {
        self.0.last.fetch_or(WAITS, Ordering::Relaxed);
    }

    /// Whether the caller holds the body back, so that the backend cannot be blamed for a call that does not end.
    ///
    /// A body that is incomplete and does not wait for the caller waits for the backend, which does not read it.
    #[must_use]
    pub fn waits_for_caller(&self) -> bool {
        self.0.last.load(Ordering::Relaxed) & (WAITS | COMPLETE) == WAITS
    }

    /// Whether the transport has taken the whole body.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        // Relaxed: the word holds everything that a reader uses.
        self.0.last.load(Ordering::Relaxed) & COMPLETE != 0
    }

    /// When the transport took the last part of the body. Before the first part, when the upload began.
    #[must_use]
    pub fn last_progress(&self) -> Instant {
        let nanos = self.0.last.load(Ordering::Relaxed) >> 2;
        algo::after(self.0.began, Duration::from_nanos(nanos))
    }

    fn store(&self, flag: u64) {
        let elapsed = clock::now().saturating_duration_since(self.0.began);
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX >> 2);
        self.0.last.store(nanos << 2 | flag, Ordering::Relaxed);
    }
}

impl Default for Upload {
    fn default() -> Self {
        Self::new()
    }
}

const COMPLETE: u64 = 1;
const WAITS: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_knows_when_the_last_part_was_taken_and_whether_it_was_the_end() {
        let (upload, began) = (Upload::new(), clock::now());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!((upload.last_progress(), upload.is_complete()), (began, false));
        upload.clone().progress();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((upload.last_progress(), upload.is_complete()), (began + Duration::from_secs(2), false));
        upload.complete();
        assert_eq!((upload.last_progress(), upload.is_complete()), (began + Duration::from_secs(3), true));
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_the_caller_until_the_next_part() {
        let upload = Upload::new();
        assert!(!upload.waits_for_caller(), "it may be the backend that does not read");
        tokio::time::advance(Duration::from_secs(2)).await;
        upload.progress();
        let progress = upload.last_progress();
        upload.wait_for_caller();
        assert_eq!((upload.waits_for_caller(), upload.last_progress()), (true, progress));
        upload.progress();
        assert!(!upload.waits_for_caller());
        upload.complete();
        upload.wait_for_caller();
        assert!(upload.is_complete() && !upload.waits_for_caller());
    }
}
