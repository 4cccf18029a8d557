//! The outcome of an answer that has begun, as long as its end is open.

use std::fmt;

use crate::call::Outcome;

/// The open outcome of an answer that has begun, and the resources that a layer holds for the call until its end.
///
/// A circuit breaker passes one to [`Classifier::defer`](crate::Classifier::defer) for every
/// [`Deferred`](Outcome::Deferred) call, except for probes, which it judges at once. The reader of the answer
/// [settles](Self::settle) it at the end. Dropping it unsettled drops the held resources, and the breaker counts the
/// call as abandoned.
///
/// ```
/// use std::sync::Arc;
/// use tokio::sync::Semaphore;
/// use tower_reliability::{Outcome, PendingOutcome};
///
/// let slots = Arc::new(Semaphore::new(1));
/// let pending = PendingOutcome::hold(slots.clone().try_acquire_owned()?);
/// assert_eq!(slots.available_permits(), 0);
/// pending.settle(Outcome::Success);
/// assert_eq!(slots.available_permits(), 1);
/// # Ok::<(), tokio::sync::TryAcquireError>(())
/// ```
#[must_use = "a pending outcome that is dropped counts as abandoned"]
pub struct PendingOutcome(Box<dyn FnOnce(Outcome) + Send>);

impl PendingOutcome {
    /// Calls `settle` once with the outcome, unless it is dropped before. `settle` must not block.
    pub fn new(settle: impl FnOnce(Outcome) + Send + 'static) -> Self {
        Self(Box::new(settle))
    }

    /// Holds a value, such as a permit, and drops it at the end, whatever the outcome.
    pub fn hold(value: impl Send + 'static) -> Self {
        Self::new(move |_| drop(value))
    }

    /// Reports the outcome. A breaker takes [`Deferred`](Outcome::Deferred) for a success here.
    pub fn settle(self, outcome: Outcome) {
        (self.0)(outcome);
    }
}

impl fmt::Debug for PendingOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingOutcome").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    #[test]
    fn it_reports_the_outcome_it_is_settled_with() {
        let (tell, told) = mpsc::channel();
        PendingOutcome::new(move |outcome| tell.send(outcome).expect("the receiver is alive"))
            .settle(Outcome::Ignored);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [Outcome::Ignored]);
    }

    #[test]
    fn dropped_unsettled_it_reports_nothing_and_drops_its_resources() {
        let (tell, told) = mpsc::channel();
        drop(PendingOutcome::new(move |outcome| tell.send(outcome).expect("the receiver is alive")));
        assert_eq!(told.recv(), Err(mpsc::RecvError), "the sender is gone, and has said nothing");
    }

    #[test]
    fn a_held_value_is_dropped_either_way() {
        let held = Arc::new(());
        let pending = [PendingOutcome::hold(held.clone()), PendingOutcome::hold(held.clone())];
        assert_eq!(Arc::strong_count(&held), 3);
        let [settled, dropped] = pending;
        settled.settle(Outcome::Success);
        assert_eq!(Arc::strong_count(&held), 2);
        drop(dropped);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
