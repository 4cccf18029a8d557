//! How far the body of a request has been sent.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::rt::{
    clock,
    sync::{AtomicU64, Ordering},
};

/// How far the body of one request has been sent.
///
/// The wrapper of the request body writes it. Layers that judge how long the peer has taken read it, through
/// [`DeadlineSource::upload`](super::DeadlineSource::upload): the time in which a request is still being sent is not time
/// that the peer had.
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
    /// Nanoseconds from `began` to the last progress, times two; the lowest bit is set when the body is complete.
    last: AtomicU64,
}

impl Upload {
    /// An upload that begins now. It reads tokio's clock.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(State { began: clock::now(), last: AtomicU64::new(0) }))
    }

    /// A part of the body has been handed to the transport.
    pub fn progress(&self) {
        self.store(0);
    }

    /// The whole body has been handed to the transport.
    pub fn complete(&self) {
        self.store(COMPLETE);
    }

    /// Whether the whole body has been handed to the transport.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        // Relaxed: the word carries everything that a reader uses.
        self.0.last.load(Ordering::Relaxed) & COMPLETE != 0
    }

    /// When the last part of the body was handed to the transport; when the upload began, if none was.
    #[must_use]
    pub fn last_progress(&self) -> Instant {
        let nanos = self.0.last.load(Ordering::Relaxed) >> 1;
        self.0.began + Duration::from_nanos(nanos)
    }

    fn store(&self, complete: u64) {
        let elapsed = clock::now().saturating_duration_since(self.0.began);
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX >> 1);
        self.0.last.store(nanos << 1 | complete, Ordering::Relaxed);
    }
}

impl Default for Upload {
    fn default() -> Self {
        Self::new()
    }
}

const COMPLETE: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_says_when_the_last_part_was_sent_and_whether_that_was_all() {
        let (upload, began) = (Upload::new(), clock::now());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!((upload.last_progress(), upload.is_complete()), (began, false));
        upload.clone().progress();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((upload.last_progress(), upload.is_complete()), (began + Duration::from_secs(2), false));
        upload.complete();
        assert_eq!((upload.last_progress(), upload.is_complete()), (began + Duration::from_secs(3), true));
    }
}
