//! The verdicts that ride with a response from the layer that gave them to the one that sees its stream end.

use std::sync::{Arc, Mutex, PoisonError};

use ::http::Extensions;

use crate::call::{Outcome, PendingOutcome};

/// The verdicts of one response.
// Extensions have to be cloned, and a verdict cannot be: clones share them, and the first to take them has them.
#[derive(Clone, Debug, Default)]
pub(in crate::grpc) struct PendingOutcomes(Arc<Mutex<Vec<PendingOutcome>>>);

impl PendingOutcomes {
    /// Leaves a verdict with a response.
    pub(in crate::grpc) fn leave(extensions: &mut Extensions, verdict: PendingOutcome) {
        extensions
            .get_or_insert_default::<Self>()
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(verdict);
    }

    /// Settles them all.
    pub(super) fn settle(&self, outcome: Outcome) {
        for verdict in self.take() {
            verdict.settle(outcome);
        }
    }

    /// Drops them all, whoever else has a clone.
    pub(super) fn abandon(&self) {
        drop(self.take());
    }

    /// Takes them out, so that code of others' does not run under the lock.
    fn take(&self) -> Vec<PendingOutcome> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn all_verdicts_of_a_response_are_settled_once_whichever_clone_is_asked() {
        let (tell, told) = mpsc::channel();
        let mut extensions = Extensions::new();
        for number in 0..2 {
            let tell = tell.clone();
            let verdict =
                PendingOutcome::new(move |outcome| tell.send((number, outcome)).expect("somebody listens"));
            PendingOutcomes::leave(&mut extensions, verdict);
        }
        let clone = extensions.clone().remove::<PendingOutcomes>().expect("they were left");
        clone.settle(Outcome::Success);
        extensions.remove::<PendingOutcomes>().expect("they were left").settle(Outcome::Ignored);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [(0, Outcome::Success), (1, Outcome::Success)]);
    }
}
