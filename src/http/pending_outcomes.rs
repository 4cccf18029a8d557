//! Pending outcomes that travel with a response to the layer that sees its body end.

use std::sync::{Arc, Mutex, PoisonError};

use ::http::Extensions;

use crate::call::{Outcome, PendingOutcome};

/// The pending outcomes of one response.
// Extensions must be `Clone`, and a pending outcome is not: clones share the list, and the first `settle` empties it.
#[derive(Clone, Debug, Default)]
pub(crate) struct PendingOutcomes(Arc<Mutex<Vec<PendingOutcome>>>);

impl PendingOutcomes {
    /// Leaves a pending outcome with a response.
    pub(crate) fn leave(extensions: &mut Extensions, pending: PendingOutcome) {
        extensions
            .get_or_insert_default::<Self>()
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(pending);
    }

    /// Settles them all.
    pub(crate) fn settle(&self, outcome: Outcome) {
        // The list leaves the lock first: settling runs code of other layers.
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for pending in all {
            pending.settle(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn each_pending_outcome_is_settled_once_by_any_clone() {
        let (tell, told) = mpsc::channel();
        let mut extensions = Extensions::new();
        for number in 0..2 {
            let tell = tell.clone();
            let pending =
                PendingOutcome::new(move |outcome| tell.send((number, outcome)).expect("the receiver lives"));
            PendingOutcomes::leave(&mut extensions, pending);
        }
        let clone = extensions.clone().remove::<PendingOutcomes>().expect("they were left");
        clone.settle(Outcome::Success);
        extensions.remove::<PendingOutcomes>().expect("they were left").settle(Outcome::Ignored);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [(0, Outcome::Success), (1, Outcome::Success)]);
    }
}
