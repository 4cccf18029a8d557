//! The calls in flight and the progress of the drain, in one word.

use crate::rt::sync::{AtomicU64, Ordering};

/// Counts the calls in flight.
///
/// One word holds the count and both flags. So a call either enters before the gate closes, and the drain counts it, or
/// it finds the gate closed.
#[derive(Debug, Default)]
pub(super) struct Gate(AtomicU64);

/// A reading of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(u64);

impl Gate {
    /// Counts one more call, and returns the word before it.
    // Acquire and release, here and below: the drain sees all that finished calls have done.
    #[inline]
    pub(super) fn enter(&self) -> Word {
        Word(self.0.fetch_add(1, Ordering::AcqRel))
    }

    /// Counts one call less, and returns the word after it.
    #[inline]
    pub(super) fn leave(&self) -> Word {
        Word(self.0.fetch_sub(1, Ordering::AcqRel) - 1)
    }

    /// The drain has begun. Calls ask the state whether they may pass.
    pub(super) fn announce(&self) -> Word {
        Word(self.0.fetch_or(DRAINING, Ordering::AcqRel))
    }

    /// No further call passes. Returns the word before.
    pub(super) fn close(&self) -> Word {
        Word(self.0.fetch_or(DRAINING | CLOSED, Ordering::AcqRel))
    }

    #[inline]
    pub(super) fn word(&self) -> Word {
        Word(self.0.load(Ordering::Acquire))
    }
}

/// From the lowest bit: 62 bits for the calls in flight, and two flags. No program makes 2^62 calls at once.
impl Word {
    pub(super) const fn in_flight(self) -> u64 {
        self.0 & (CLOSED - 1)
    }

    #[inline]
    pub(super) const fn is_draining(self) -> bool {
        self.0 & DRAINING != 0
    }

    #[inline]
    pub(super) const fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }
}

const CLOSED: u64 = 1 << 62;
const DRAINING: u64 = 1 << 63;

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn flags_and_count_do_not_touch_each_other() {
        let gate = Gate::default();
        assert!(!gate.enter().is_draining());
        assert_eq!(gate.announce().in_flight(), 1);
        let word = gate.enter();
        assert!(word.is_draining() && !word.is_closed());
        assert_eq!((gate.close().in_flight(), gate.close().is_closed()), (2, true));
        assert!(gate.enter().is_closed());
        let left = [(); 3].map(|()| gate.leave());
        assert_eq!(left.map(Word::in_flight), [2, 1, 0]);
        assert!(left.iter().all(|word| word.is_closed() && word.is_draining()));
    }
}
