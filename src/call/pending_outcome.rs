//! What is still owed to a layer about an answer that has begun.

use std::fmt;

use crate::call::Outcome;

/// What a layer waits to hear about an answer that has begun, and what it holds until then.
///
/// A breaker gives one away for every call that is [`Deferred`](Outcome::Deferred); a probe it judges at once.
/// Whoever sees the answer end [settles](Self::settle) it. Dropped unsettled, it drops what it owns: to a breaker the
/// call is abandoned then.
///
/// ```
/// use std::sync::Arc;
/// use tokio::sync::Semaphore;
/// use tower_reliability::{Outcome, PendingOutcome};
///
/// let slots = Arc::new(Semaphore::new(1));
/// let verdict = PendingOutcome::hold(slots.clone().try_acquire_owned()?);
/// assert_eq!(slots.available_permits(), 0);
/// verdict.settle(Outcome::Success);
/// assert_eq!(slots.available_permits(), 1);
/// # Ok::<(), tokio::sync::TryAcquireError>(())
/// ```
#[must_use = "a verdict that is dropped counts as abandoned"]
pub struct PendingOutcome(Box<dyn FnOnce(Outcome) + Send>);

impl PendingOutcome {
    /// Tells `settle`, once, unless it is dropped before. It must not wait.
    pub fn new(settle: impl FnOnce(Outcome) + Send + 'static) -> Self {
        Self(Box::new(settle))
    }

    /// Holds a value, such as a permit, until it is settled or dropped, whatever the outcome.
    pub fn hold(value: impl Send + 'static) -> Self {
        Self::new(move |_| drop(value))
    }

    /// Says what the answer came to. [`Deferred`](Outcome::Deferred) is no answer to that, and taken for a success.
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
    fn it_is_told_what_it_is_settled_with() {
        let (tell, told) = mpsc::channel();
        PendingOutcome::new(move |outcome| tell.send(outcome).expect("somebody listens"))
            .settle(Outcome::Ignored);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [Outcome::Ignored]);
    }

    #[test]
    fn dropped_it_is_told_nothing_and_gives_back_what_it_owns() {
        let (tell, told) = mpsc::channel();
        drop(PendingOutcome::new(move |outcome| tell.send(outcome).expect("somebody listens")));
        assert_eq!(told.recv(), Err(mpsc::RecvError), "the sender is gone, and has said nothing");
    }

    #[test]
    fn what_is_held_is_given_back_either_way() {
        let held = Arc::new(());
        let verdicts = [PendingOutcome::hold(held.clone()), PendingOutcome::hold(held.clone())];
        assert_eq!(Arc::strong_count(&held), 3);
        let [settled, dropped] = verdicts;
        settled.settle(Outcome::Success);
        assert_eq!(Arc::strong_count(&held), 2);
        drop(dropped);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
